"""What the benchmarks of the serving half share: two namespaces, the processes in them, and honest ratios."""

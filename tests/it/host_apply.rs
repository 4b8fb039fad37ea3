//! Carrying a plan out: what a failure stops and what it does not.

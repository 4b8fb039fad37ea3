"""The lab's own library: builds machines, runs them, and says what was proven.

It must never touch the host's block devices, network or services: everything
happens in QEMU, and frames travel between QEMUs over 127.0.0.1 only.
"""

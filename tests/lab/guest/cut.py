"""Runs a program and kills it -9 at the n-th operation it announces on stderr; prints how many it announced.

It must never kill anything but its own child.
"""

import os
import re
import subprocess
import sys

n, command = int(sys.argv[1]), sys.argv[2:]
child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         env={**os.environ, "RUST_LOG": "barista::host=debug", "NO_COLOR": "1"})
seen = 0
for line in child.stderr:
    if re.search(rb"\bop\b", line):
        seen += 1
        if seen == n:
            child.kill()
child.wait()
print(seen, child.returncode)

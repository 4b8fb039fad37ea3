"""The suite the fakes pass, against the real kernel."""

from __future__ import annotations

import re

from labkit.failure import Failed
from labkit.lab import Lab, integration_binary

PROVES = "real LVM and LIO pass the contract suite that the fakes pass"


def run(lab: Lab) -> None:
    """Runs the integration binary's contract tests inside the VM."""
    binary = integration_binary()
    if binary is None or not binary.exists():
        raise Failed("no integration binary: cargo test --no-run --test it, or set BARISTA_IT")
    server = lab.server()
    done = server.run("cd /tmp && BARISTA_LAB=1 BARISTA_LAB_VG=cafe /lab/share/bin/it contract --test-threads=1", 500)
    (lab.logs / "contract.log").write_text(done.out + done.err)
    counted = re.search(r"test result: ok\. (\d+) passed", done.out)
    if done.rc != 0 or not counted or int(counted[1]) == 0:
        raise Failed(f"status {done.rc}\n{done.out[-4000:]}{done.err[-2000:]}")
    lab.proves(f"{counted[1]} contract tests pass on the real kernel")

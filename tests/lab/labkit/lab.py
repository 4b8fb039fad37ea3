"""What a scenario is given: machines to start, sites to write, and a voice for its proofs.

It must never let a scenario pass without a proof, nor a machine outlive its scenario.
"""

from __future__ import annotations

import atexit
import difflib
import os
import shutil
import tempfile
import time
from pathlib import Path

from . import client, disks, qemu
from .failure import Failed
from .paths import LOGS, TARGET, WORK, sh
from .server import Port, Server


def barista_binary() -> Path:
    """The program under test."""
    return Path(os.environ.get("BARISTA", TARGET / "release/barista"))


def integration_binary() -> Path | None:
    """The Rust integration tests: BARISTA_IT, or the newest ones built."""
    if given := os.environ.get("BARISTA_IT"):
        return Path(given)
    built = [p for p in TARGET.glob("*/deps/it-*") if not p.suffix and os.access(p, os.X_OK)]
    return max(built, key=lambda p: p.stat().st_mtime, default=None)


def key() -> Path:
    """The ssh key pushes are made with; it opens nothing but the server VM."""
    path = WORK / "ssh/lab"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", path)
    return path


def share() -> Path:
    """A disk with the programs under test and the public key, mounted at /lab/share in the VM."""
    path = Path(tempfile.gettempdir()) / f"lab-share-{os.getpid()}.ext4"
    atexit.register(path.unlink, missing_ok=True)
    with tempfile.TemporaryDirectory() as staged:
        root = Path(staged)
        (root / "bin").mkdir()
        (root / "ssh").mkdir()
        shutil.copy(key().with_suffix(".pub"), root / "ssh/lab.pub")
        for source, name in ((barista_binary(), "barista"), (integration_binary(), "it")):
            if source and source.exists():
                shutil.copy(source, root / "bin" / name)
        size = sum(f.stat().st_size for f in root.rglob("*") if f.is_file()) // disks.MIB
        disks.make_ext4(path, root, size * 11 // 10 + 16, "-O", "^has_journal")
    return path


class Lab:
    """One scenario's workshop."""

    def __init__(self, scenario: str, shared: Path) -> None:
        self.scenario, self.shared = scenario, shared
        self.logs = LOGS / scenario
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        self.work = Path(tempfile.mkdtemp(prefix="lab-"))
        self.proofs = 0
        self.started = time.monotonic()

    def server(self, ports: int = 0, *, volume_group: str = "cafe", **options: object) -> Server:
        """A booted server; its data disk holds an empty volume group unless the name is ''."""
        made = Server(self.work, self.logs / "server.log", self.shared, ports, **options)  # type: ignore[arg-type]
        made.start()
        if volume_group:
            made.must(f"vgcreate -q --metadatasize 16m {volume_group} /dev/lab/data")
        return made

    def client(self, name: str, port: Port, firmware: str, mac: str, mode: str = "off") -> qemu.Qemu:
        """A client powered on; its console goes to `<name>.log`."""
        return client.start_client(self.work, self.logs / f"{name}.log", port, firmware, mac, mode)

    def proves(self, sentence: str, holds: object = True, detail: object = "") -> None:
        """Says what has just been proven, or fails with what was seen instead."""
        if not holds:
            raise Failed(f"{sentence}\n{detail}")
        self.proofs += 1
        print(f"ok - {sentence}", flush=True)
        with (self.logs / "proofs").open("a") as proofs:
            proofs.write(f"{time.monotonic() - self.started:6.1f} s  {sentence}\n")

    def same(self, sentence: str, before: str, after: str) -> None:
        """Proves that two texts are the same, or shows where they differ."""
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="", n=1)
        self.proves(sentence, before == after, "\n".join(line[:300] for line in list(lines)[:80]))

    def note(self, text: str) -> None:
        """A measured time or another remark; never a proof."""
        print(f"#   {text}", flush=True)

    def tails(self) -> str:
        """The last lines of every console, for a failed scenario."""
        parts = []
        for log in sorted(self.logs.glob("*.log")):
            lines = log.read_bytes().decode(errors="replace").splitlines()[-25:]
            parts.append(f"--- {log.name}\n" + "\n".join(lines))
        return "\n".join(parts)

    def close(self) -> None:
        """Ends every machine and removes their disks; the logs stay."""
        qemu.end_all()
        shutil.rmtree(self.work, ignore_errors=True)

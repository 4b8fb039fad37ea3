"""One QEMU process: its console log, waiting for words on it, and its certain end.

It must never outlive the run: every process started here is in `RUNNING` until it is gone.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .failure import Failed

RUNNING: set["Qemu"] = set()


def end_all() -> None:
    """Kills whatever still runs; called at the end of every scenario and on Ctrl-C."""
    for machine in list(RUNNING):
        machine.kill()


def free_port(kind: int) -> int:
    """A port of 127.0.0.1 nobody uses now; `kind` is SOCK_STREAM or SOCK_DGRAM."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], seconds: float, what: str, pause: float = 0.2) -> object:
    """Waits until the condition holds and returns what it said; past the deadline it is a failure."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)


class Qemu:
    """A virtual machine whose serial console goes to a log file and can be written to."""

    def __init__(self, name: str, arguments: list[str], log: Path, sockets: Path, program: str = "qemu-system-x86_64") -> None:
        self.name, self.log = name, log
        self.middle: object | None = None
        """What stands between it and the server, if anything does."""
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        self._console = sockets / f"{name}.con"
        self._console.unlink(missing_ok=True)
        self._read_from = log.stat().st_size
        self.started = time.time()
        errors = log.with_suffix(".qemu").open("ab")
        self.process = subprocess.Popen(
            [program, "-nodefaults", "-nographic", "-no-reboot", "-accel", "tcg,thread=multi",
             "-chardev", f"socket,id=console,path={self._console},server=on,wait=off,logfile={log},logappend=on",
             "-serial", "chardev:console", "-monitor", "none", *arguments],
            stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True,
        )
        errors.close()
        RUNNING.add(self)

    def console(self) -> str:
        """What this start has said so far."""
        return self.log.read_bytes()[self._read_from:].decode(errors="replace")

    def wait_said(self, words: str, seconds: float) -> str:
        """Waits for words on the console and returns the rest of their line."""
        def said() -> str | None:
            text = self.console()
            at = text.find(words)
            if at >= 0 and "\n" in text[at:]:
                return text[at:].split("\n")[0].strip()
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended before it said {words!r}")
            return None
        return str(wait_for(said, seconds, f"{self.name} says {words!r}"))

    def wait_shown(self, words: str, seconds: float) -> None:
        """Waits until words stand on the console, whole lines or not: a menu has none."""
        def shown() -> bool:
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended before it showed {words!r}")
            return words in self.console()
        wait_for(shown, seconds, f"{self.name} shows {words!r}")

    def type(self, text: str) -> None:
        """Types on the serial console."""
        with socket.socket(socket.AF_UNIX) as console:
            console.connect(str(self._console))
            console.sendall(text.encode())
            time.sleep(0.2)

    def wait_off(self, seconds: float) -> float:
        """Waits until the machine has powered itself off; returns the seconds from power-on to its last words."""
        wait_for(lambda: self.process.poll() is not None, seconds, f"{self.name} powers off")
        RUNNING.discard(self)
        if self.process.returncode != 0:
            raise Failed(f"QEMU of {self.name} ended with {self.process.returncode}: {self.log.with_suffix('.qemu').read_text()[-500:]}")
        return self.log.stat().st_mtime - self.started

    def kill(self) -> None:
        """Pulls the plug."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        RUNNING.discard(self)

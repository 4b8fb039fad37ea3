"""The server VM: real LVM, LIO and configfs, a café bridge, and a door for the harness.

It must never be reachable from beyond 127.0.0.1; its root disk keeps no change, but where systemd starts it.
"""

from __future__ import annotations

import base64
import itertools
import json
import shlex
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

from . import disks
from .debian import kernel
from .failure import Failed
from .paths import sh
from .qemu import Qemu, free_port, wait_for

MODULES = ("dm_thin_pool", "dm_snapshot", "target_core_mod", "target_core_iblock", "target_core_file",
           "iscsi_target_mod", "loop", "iscsi_tcp", "sd_mod", "bridge", "veth")
"""What a server has loaded that has no `modules-load.d` of its own."""
BASE = ("bridge", "loop")
"""The rest of it where systemd starts: what barista needs comes by its own file."""
BRIDGE, ADDRESS = "br0", "192.168.77.1"


@dataclass(frozen=True)
class Done:
    """What a command in the VM left behind."""

    rc: int
    out: str
    err: str

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter((self.rc, self.out, self.err))


@dataclass(frozen=True)
class Port:
    """One network port of the café: the two UDP ports of 127.0.0.1 its frames travel between."""

    server: int = field(default_factory=lambda: free_port(socket.SOCK_DGRAM))
    client: int = field(default_factory=lambda: free_port(socket.SOCK_DGRAM))

    def netdev(self, name: str, near: int, far: int) -> str:
        """The QEMU end that listens at `near` and sends to `far`."""
        return (f"dgram,id={name},local.type=inet,local.host=127.0.0.1,local.port={near},"
                f"remote.type=inet,remote.host=127.0.0.1,remote.port={far}")


class Server:
    """One server with its disks; it can be killed and started again on the same ones."""

    def __init__(self, work: Path, log: Path, share: Path, ports: int, *, data_mib: int = 4096,
                 modules: tuple[str, ...] = MODULES, configfs: str = "yes", cache: str = "unsafe", init: str = "lab") -> None:
        self.work, self.log, self.share = work, log, share
        self.ports = [Port() for _ in range(ports)]
        self.modules, self.configfs, self.cache, self.init = modules, configfs, cache, init
        self.ssh_port = free_port(socket.SOCK_STREAM)
        self.data, self.state = work / "data.raw", work / "state.ext4"
        with self.data.open("wb") as file:
            file.truncate(data_mib * disks.MIB)
        disks.make_ext4(self.state, None, 256)
        self.root = work / "root.ext4"
        if init == "systemd":
            # What is enabled and written on this server has to be there at its next start.
            self.modules, self.configfs = BASE, "no"
            sh("cp", "--sparse=always", "--reflink=auto", disks.server_disks() / "root.ext4", self.root)
        self._ids = itertools.count(1)
        self._spawned = itertools.count(1)
        self.qemu: Qemu | None = None

    def start(self) -> "Server":
        """Boots and waits until commands can be run."""
        system, boot = kernel(), disks.server_disks()
        control = self.work / "control"
        control.unlink(missing_ok=True)
        arguments = [
            "-machine", "q35", "-cpu", "max,la57=off", "-smp", "2", "-m", "1280",
            "-kernel", str(system.vmlinuz), "-initrd", str(boot / "initrd"),
            "-append", "console=ttyS0,115200 quiet panic=5 mitigations=off nokaslr "
                       f"net.ifnames=0 lab.modules={','.join(self.modules)} lab.configfs={self.configfs} lab.init={self.init}",
            "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=control,path={control},server=on,wait=off", "-device", "virtserialport,chardev=control",
        ]
        root = (boot / "root.ext4", "snapshot=on") if self.init == "lab" else (self.root, "cache=writethrough")
        drives = (("root", *root),
                  ("share", self.share, "readonly=on"),
                  ("images", disks.client_images() / "images.ext4", "readonly=on"),
                  ("state", self.state, f"cache={self.cache}"),
                  ("data", self.data, f"cache={self.cache},discard=unmap"))
        for name, path, options in drives:
            arguments += ["-drive", f"if=none,id={name},format=raw,file={path},{options}",
                          "-device", f"virtio-blk-pci,drive={name},serial={name}"]
        for number, port in enumerate(self.ports):
            arguments += ["-netdev", port.netdev(f"cafe{number}", port.server, port.client),
                          "-device", f"virtio-net-pci,netdev=cafe{number},mac=52:54:00:fe:00:{number:02x},romfile="]
        arguments += ["-netdev", f"user,id=door,restrict=on,hostfwd=tcp:127.0.0.1:{self.ssh_port}-10.0.2.15:22",
                      "-device", "virtio-net-pci,netdev=door,mac=52:54:00:ff:ff:01,romfile="]
        self.qemu = Qemu("server", arguments, self.log, self.work)
        self._answers: dict[int, dict[str, object]] = {}
        self._news = threading.Condition()
        self._control = socket.socket(socket.AF_UNIX)
        wait_for(lambda: self._connect(control), 10, "QEMU opens the control channel")
        threading.Thread(target=self._listen, args=(self._control,), daemon=True).start()
        self._await(0, 90)
        return self

    def _connect(self, path: Path) -> bool:
        try:
            self._control.connect(str(path))
        except OSError:
            return False
        return True

    def _listen(self, control: socket.socket) -> None:
        try:
            for line in control.makefile("rb"):
                message = json.loads(line)
                with self._news:
                    self._answers[message["id"]] = message
                    self._news.notify_all()
        except (OSError, ValueError):
            return

    def _await(self, number: int, seconds: float) -> dict[str, object]:
        with self._news:
            if not self._news.wait_for(lambda: number in self._answers, seconds):
                raise Failed(f"the server VM did not answer within {seconds:.0f} s")
            return self._answers.pop(number)

    def run(self, command: str, timeout: float = 60, stdin: bytes = b"") -> Done:
        """Runs a shell command in the VM and returns its status and output; a late one has status 124."""
        number = next(self._ids)
        request = {"id": number, "command": command, "timeout": timeout, "stdin": base64.b64encode(stdin).decode()}
        self._control.sendall((json.dumps(request) + "\n").encode())
        answer = self._await(number, timeout + 30)
        text = {name: base64.b64decode(str(answer[name])).decode(errors="replace") for name in ("out", "err")}
        return Done(int(str(answer["rc"])), text["out"], text["err"])

    def must(self, command: str, timeout: float = 60, stdin: bytes = b"") -> str:
        """Runs a command that has to succeed and returns its output."""
        done = self.run(command, timeout, stdin)
        if done.rc != 0:
            raise Failed(f"in the server VM: {command}\nstatus {done.rc}\n{done.out[-1500:]}{done.err[-1500:]}")
        return done.out

    def put(self, path: str, data: str | bytes) -> None:
        """Writes a file in the VM."""
        self.must(f"mkdir -p $(dirname {shlex.quote(path)}) && cat > {shlex.quote(path)}",
                  stdin=data.encode() if isinstance(data, str) else data)

    def spawn(self, command: str) -> "Background":
        """Starts a program in the background; the command must be a simple one, for it replaces its shell."""
        base = f"/run/lab/{next(self._spawned)}"
        self.must(f"(setsid bash -c {shlex.quote(f'echo $BASHPID > {base}.pid; exec {command}')} "
                  f"> {base}.out 2>&1 < /dev/null; echo $? > {base}.rc) > /dev/null 2>&1 &")
        return Background(self, base)

    def kill(self) -> None:
        """Cuts the power."""
        if self.qemu:
            self.qemu.kill()
            self._control.close()


@dataclass(frozen=True)
class Background:
    """A program running in the server VM."""

    server: Server
    base: str

    def output(self) -> str:
        """Everything it has printed so far, both streams."""
        return self.server.run(f"cat {self.base}.out").out

    def status(self) -> int | None:
        """Its exit status, or None while it runs."""
        said = self.server.run(f"cat {self.base}.rc 2>/dev/null").out.strip()
        return int(said) if said else None

    def signal(self, name: str) -> None:
        """Sends it a signal, by its own process id."""
        self.server.run(f"kill -{name} $(cat {self.base}.pid)")

    def wait(self, seconds: float) -> int:
        """Waits for its end and returns its exit status."""
        wait_for(lambda: self.status() is not None, seconds, f"end of a background program:\n{self.output()[-1500:]}")
        return self.status() or 0

    def wait_said(self, words: str, seconds: float) -> None:
        """Waits until it has printed the words."""
        wait_for(lambda: words in self.output(), seconds, f"a background program prints {words!r}", 0.5)

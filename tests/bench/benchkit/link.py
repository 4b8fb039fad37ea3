"""A server and a client in two network namespaces with a veth pair between them, and processes that are measured there."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BARISTA = Path(os.environ.get("BARISTA", ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release/barista"))
SERVER = "10.99.0.1"
CLIENT = "10.99.0.2"
TICK = os.sysconf("SC_CLK_TCK")


def need(packages: Sequence[str]) -> None:
    """Installs Debian's packages that are missing, and checks that there is something to measure."""
    if os.geteuid() != 0:
        sys.exit("network namespaces need root")
    if not BARISTA.is_file():
        sys.exit(f"{BARISTA} is missing: cargo build --release")
    missing = [package for package in packages if "installed" not in subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", package], capture_output=True, text=True).stdout.split()]
    if missing:
        print(f"installing {' '.join(missing)}", flush=True)
        subprocess.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], check=True,
                       env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, stdout=subprocess.DEVNULL)


class Link:
    """The two namespaces; everything in them ends with the program."""

    def __init__(self) -> None:
        self.server, self.client = f"bbs{os.getpid()}", f"bbc{os.getpid()}"
        self.directory = Path(tempfile.mkdtemp(prefix="barista-bench-", dir="/var/tmp"))
        self.directory.chmod(0o755)
        self.running: list[subprocess.Popen[bytes]] = []
        atexit.register(self.close)
        for namespace in (self.server, self.client):
            self.ip(f"netns add {namespace}")
            self.ip(f"-n {namespace} link set lo up")
        self.ip(f"link add name vs netns {self.server} type veth peer name vc netns {self.client}")
        for namespace, interface, address in ((self.server, "vs", SERVER), (self.client, "vc", CLIENT)):
            self.ip(f"-n {namespace} addr add {address}/16 dev {interface}")
            self.ip(f"-n {namespace} link set {interface} up")

    @staticmethod
    def ip(words: str) -> None:
        """One command of ip(8)."""
        subprocess.run(["ip", *words.split()], check=True)

    def close(self) -> None:
        """Ends what was started and removes what was made."""
        for process in list(self.running):
            self.end(process)
        for namespace in (self.server, self.client):
            subprocess.run(["ip", "netns", "del", namespace], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, *words: str | Path, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Starts a server in the server's namespace; `ip netns exec` becomes it, so the process is the server's."""
        with (self.directory / f"log.{Path(words[0]).name}").open("ab") as log:
            process = subprocess.Popen(["ip", "netns", "exec", self.server, *map(str, words)], stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, env=os.environ | (env or {}), cwd=self.directory)
        self.running.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ends a server."""
        self.running.remove(process)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ask(self, *words: str | Path, timeout: float = 300) -> str:
        """Runs a client to its end; its output."""
        done = subprocess.run(["ip", "netns", "exec", self.client, *map(str, words)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout, cwd=self.directory)
        return done.stdout + done.stderr

    def clients(self, commands: Sequence[Sequence[str]]) -> float:
        """Runs clients at once; seconds until the last has ended, each in good order."""
        begun = time.monotonic()
        started = [subprocess.Popen(["ip", "netns", "exec", self.client, *words], stdin=subprocess.DEVNULL,
                                    stdout=subprocess.DEVNULL, cwd=self.directory) for words in commands]
        for process in started:
            if process.wait() != 0:
                sys.exit(f"a client failed: {process.args}")
        return time.monotonic() - begun

    def barista(self, table: dict[str, object]) -> subprocess.Popen[bytes]:
        """Our service with a boot table; waits until it answers."""
        boot = self.directory / "boot"
        boot.mkdir(exist_ok=True)
        (boot / "table.json").write_text(json.dumps(BASE | {"loaders": str(self.directory / "loaders")} | table))
        for name in ("loaders", "assets"):
            (self.directory / name).mkdir(exist_ok=True)
        process = self.start(BARISTA, "serve", "--user", "root", "--state", self.directory, env={"RUST_LOG": "warn"})
        self.until(lambda: "200" in self.ask("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{SERVER}:8080/healthz"))
        return process

    @staticmethod
    def until(condition: Callable[[], bool]) -> None:
        """Waits for a condition, twenty seconds at most."""
        end = time.monotonic() + 20
        while not condition():
            if time.monotonic() > end:
                sys.exit("a server never answered")
            time.sleep(0.05)


BASE: dict[str, object] = {
    "version": 1, "site": "bench", "tftp-address": SERVER, "http-address": SERVER, "http-port": 8080,
    "networks": {"lan": {"interface": "vs", "mode": "off", "subnet": "10.99.0.0/16", "range": None, "router": None, "dns": [],
                         "domain": None, "lease-time": "1h", "relay": []}},
    "machines": {}, "unknown-script": "#!ipxe\n", "assets": [],
}


def family(process: subprocess.Popen[bytes]) -> list[int]:
    """A process and its children: nginx works in them."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [process.pid, *map(int, children)]


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Processor seconds a server has used so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in family(process)]
    return sum(int(field[11]) + int(field[12]) for field in fields) / TICK


def memory(process: subprocess.Popen[bytes], what: str = "VmRSS") -> float:
    """MiB of a server."""
    lines = [line for pid in family(process) for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)

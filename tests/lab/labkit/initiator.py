"""An initiator on the server VM itself: holds sessions without the cost of a client VM.

It must never log in to a target under another name than the machine's own.
"""

from __future__ import annotations

import re

from .cafe import TARGETS
from .failure import Failed
from .qemu import wait_for
from .server import ADDRESS, Server
from .site import PREFIX, Machine

FETCH = r"""
import http.client, re, sys
mac, own = sys.argv[1:]

def get(path):
    door = http.client.HTTPConnection("192.168.77.1", 8080, timeout=30, source_address=(own, 0))
    door.request("GET", path)
    return door.getresponse().read().decode()

path = re.search(r"http://[^/]+(/machines/\S+)", get("/boot.ipxe"))[1]
print(get(path.replace("${netX/mac:hexraw}", mac.replace(":", "")).replace("${uuid}", "")))
"""


def boot_script(server: Server, machine: Machine) -> str:
    """What the firmware of a machine is told at a new boot: its scripts fetched one after the other, from its own address."""
    done = server.must(f"""ip address add {machine.ip}/32 dev br0; trap 'ip address del {machine.ip}/32 dev br0' EXIT
        python3 -S -E - {machine.mac} {machine.ip}""", stdin=FETCH.encode())
    return done


def booted(server: Server, machine: Machine, image: str) -> str:
    """The target that a new boot of a machine is given for an image."""
    script = boot_script(server, machine)
    found = re.search(rf"{re.escape(PREFIX)}:{machine.name}\.{image}\.[a-z]-[0-9a-f]{{8}}", script)
    if not found:
        raise Failed(f"a boot of {machine.name} is given no disk of {image}:\n{script}")
    return found[0]


class Initiator:
    """What a machine's system would do, done by open-iscsi over the loop-back."""

    def __init__(self, server: Server, machine: str, target: str) -> None:
        self.server, self.machine, self.target = server, machine, target
        server.must(f"""set -e
            mkdir -p /etc/iscsi /run/lock/iscsi; [ -s /etc/iscsi/initiatorname.iscsi ] || echo InitiatorName={PREFIX}:nobody > /etc/iscsi/initiatorname.iscsi
            pidof iscsid > /dev/null || iscsid
            iscsiadm -m iface -I {machine} > /dev/null 2>&1 || {{ iscsiadm -m iface -I {machine} --op=new
            iscsiadm -m iface -I {machine} --op=update -n iface.initiatorname -v {PREFIX}:{machine}
            iscsiadm -m iface -I {machine} --op=update -n iface.transport_name -v tcp; }}
            iscsiadm -m node -T {self.target} -p {ADDRESS}:3260,1 -I {machine} --op=new""")

    def _node(self, what: str) -> None:
        self.server.must(f"iscsiadm -m node -T {self.target} -p {ADDRESS}:3260,1 -I {self.machine} {what}")

    def login(self) -> str:
        """Logs in and returns the disk's device path."""
        before = set(self.server.must("ls /sys/block").split())
        self._node("--login")

        def disk() -> str:
            return next((d for d in set(self.server.must("ls /sys/block").split()) - before if d.startswith("sd")), "")
        return f"/dev/{wait_for(disk, 20, f'{self.machine} sees its disk')}"

    def logout(self) -> None:
        """Logs out and waits until the target has seen it."""
        self._node("--logout")
        wait_for(lambda: not self.has_session(), 20, f"the session of {self.machine} ends")

    def has_session(self) -> bool:
        """Whether the target shows a session of this machine."""
        said = self.server.run(f"cat {TARGETS}/iscsi/{self.target}/tpgt_1/acls/{PREFIX}:{self.machine}/info").out
        return "LOGGED_IN" in said


def scribble(server: Server, disk: str, text: str) -> None:
    """Writes a word into the unused MiB at the end of a client disk."""
    server.must(f"printf %-512s {text} | dd of={disk} bs=512 seek=$((47 << 11)) oflag=direct conv=notrunc status=none")


def scribbled(server: Server, device: str) -> str:
    """The word found there."""
    return server.must(f"set -o pipefail; dd if={device} bs=512 count=1 skip=$((47 << 11)) iflag=direct status=none | tr -d '\\0 '")

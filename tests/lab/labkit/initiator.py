"""An initiator on the server VM itself: holds sessions without the cost of a client VM.

It must never log in to a target under another name than the machine's own.
"""

from __future__ import annotations

from .cafe import TARGETS
from .qemu import wait_for
from .server import ADDRESS, Server
from .site import PREFIX


class Initiator:
    """What a machine's system would do, done by open-iscsi over the loop-back."""

    def __init__(self, server: Server, machine: str, image: str) -> None:
        self.server, self.machine = server, machine
        self.target = f"{PREFIX}:{machine}.{image}"
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

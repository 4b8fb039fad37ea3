"""What stands between a client and the server: all its frames pass through here.

`PlainPxe` makes iPXE's ROM look like a plain PXE ROM, for no other BIOS ROM can be had as a package: DHCP options 77 (user class) and
175 (iPXE) of the client are blanked until it has asked for a boot loader by TFTP. After that the loader speaks for itself.
`BadWire` loses, doubles and displaces blocks of TFTP. Neither may ever change what is inside a frame of the server.
"""

from __future__ import annotations

import select
import socket
import threading
from dataclasses import dataclass

from .server import Port

BLANKED = (77, 175)
UDP, DHCP_SERVER, TFTP, PXE_BOOT_SERVER = 17, 67, 69, 4011
PAD, END = 0, 255


def without_ipxe(frame: bytes) -> bytes:
    """The frame with the options that name iPXE turned into padding; anything but a DHCP request as it is."""
    port = udp_port(frame)
    if port not in (DHCP_SERVER, PXE_BOOT_SERVER):
        return frame
    changed = bytearray(frame)
    udp = 14 + (frame[14] & 15) * 4
    at = udp + 8 + 240
    while at < len(changed) and changed[at] != END:
        if changed[at] == PAD:
            at += 1
            continue
        size = 2 + changed[at + 1]
        if changed[at] in BLANKED:
            changed[at:at + size] = bytes(size)
        at += size
    changed[udp + 6:udp + 8] = b"\0\0"
    return bytes(changed)


def udp_port(frame: bytes) -> int | None:
    """The destination port of a UDP over IPv4 frame."""
    if len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] != UDP:
        return None
    udp = 14 + (frame[14] & 15) * 4
    return int.from_bytes(frame[udp + 2:udp + 4], "big")


def tftp_block(frame: bytes) -> tuple[int, int] | None:
    """The transfer, by the client's port, and the number of a block of TFTP."""
    port = udp_port(frame)
    if port is None:
        return None
    udp = 14 + (frame[14] & 15) * 4
    if int.from_bytes(frame[udp:udp + 2], "big") < 1024 or port < 1024 or frame[udp + 8:udp + 10] != b"\0\3":
        return None
    return port, int.from_bytes(frame[udp + 10:udp + 12], "big")


@dataclass
class Middle:
    """What stands in the way of one client, running until the program ends."""

    near: int
    client: int
    port: Port

    def __post_init__(self) -> None:
        self._to_client = self._bound(self.near)
        self._to_server = self._bound(self.port.client)
        threading.Thread(target=self._pump, daemon=True).start()

    def of_client(self, frame: bytes) -> list[bytes]:
        """What the server gets of a frame of the client."""
        return [frame]

    def of_server(self, frame: bytes) -> list[bytes]:
        """What the client gets of a frame of the server."""
        return [frame]

    def _bound(self, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        made.bind(("127.0.0.1", port))
        return made

    def _pump(self) -> None:
        while True:
            for ready in select.select([self._to_client, self._to_server], [], [])[0]:
                try:
                    frame = ready.recv(65536)
                    if ready is self._to_server:
                        for kept in self.of_server(frame):
                            self._to_client.sendto(kept, ("127.0.0.1", self.client))
                    else:
                        for kept in self.of_client(frame):
                            self._to_server.sendto(kept, ("127.0.0.1", self.port.server))
                except ConnectionRefusedError:
                    continue  # the other QEMU is not up yet, or already gone


class PlainPxe(Middle):
    """iPXE's ROM as a plain one."""

    def __post_init__(self) -> None:
        self.loader_asked = False
        super().__post_init__()

    def of_client(self, frame: bytes) -> list[bytes]:
        """Without the options that name iPXE, until a loader was asked for."""
        self.loader_asked |= udp_port(frame) == TFTP
        return [frame if self.loader_asked else without_ipxe(frame)]


class BadWire(Middle):
    """A wire that loses, doubles and displaces blocks, and counts them."""

    LOST, DOUBLED, DISPLACED = 41, 53, 67
    """One in so many."""

    def __post_init__(self) -> None:
        self.sent, self.faults = 0, 0
        self.blocks: set[tuple[int, int]] = set()
        self._held: list[bytes] = []
        super().__post_init__()

    def of_server(self, frame: bytes) -> list[bytes]:
        """The frame, and before it none, or behind it what was held back."""
        block = tftp_block(frame)
        if block is None:
            return [frame]
        self.sent += 1
        self.blocks.add(block)
        if self.sent % self.LOST == 0:
            self.faults += 1
            return []
        held, self._held = self._held, []
        if self.sent % self.DISPLACED == 0 and not held:
            self.faults += 1
            self._held = [frame]
            return []
        if self.sent % self.DOUBLED == 0:
            self.faults += 1
            return [frame, frame, *held]
        return [frame, *held]

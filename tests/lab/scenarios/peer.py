"""Validates the lab itself: clients boot from dnsmasq and a target made by hand."""

from __future__ import annotations

from labkit import handmade
from labkit.lab import Lab

PROVES = "the lab's own firmware, images and kernel work together without barista"
FIRMWARES = ("bios-ipxe-rom", "uefi-pxe", "bios-pxe", "uefi-ipxe")
INITIATOR = "iqn.2026-11.example.peer:client"


def run(lab: Lab) -> None:
    """Boots two clients at once, twice."""
    server = lab.server(ports=2)
    server.must("lvcreate -q -y --type thin-pool -L 2G -n pool cafe; lvcreate -q -y -V 48M -T cafe/pool -n base && "
                "dd if=/lab/images/alpha.raw of=/dev/cafe/base bs=1M conv=fsync status=none")
    macs = [f"52:54:00:77:00:{n:02x}" for n in range(len(FIRMWARES))]
    roots = {}
    for number, mac in enumerate(macs):
        server.must(f"lvcreate -q -y -s -kn -n c{number} cafe/base")
        roots[mac] = f"iqn.2026-11.example.peer:t{number}"
        handmade.target(server, number, f"/dev/cafe/c{number}", roots[mac], INITIATOR)
    handmade.dnsmasq(server, INITIATOR, roots)
    for first in (0, 2):
        clients = [lab.client(f"client{n}-{FIRMWARES[n]}", server.ports[n - first], FIRMWARES[n], macs[n])
                   for n in (first, first + 1)]
        for client in clients:
            said = client.wait_said("LAB: root on iSCSI", 240)
            seconds = client.wait_off(60)
            lab.proves(f"{client.name} reached a root on iSCSI and powered off", "image=alpha" in said, said)
            lab.note(f"{client.name}: {seconds:.0f} s from power-on to power-off; {said}")

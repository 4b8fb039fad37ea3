"""Beside another DHCP server: proxyDHCP for the firmware's own PXE, BIOS and UEFI."""

from __future__ import annotations

from labkit import handmade
from labkit.cafe import Cafe
from labkit.filter import BadWire
from labkit.lab import Lab
from labkit.site import Machine, Site

PROVES = ("beside a router's DHCP server a plain BIOS PXE ROM and a UEFI firmware are each given their loader and boot, the latter on a wire "
          "that loses, doubles and displaces blocks")
MOST = 1.4
"""Blocks sent for each of the file, where one in seventeen is lost, doubled or displaced; a window that stays doubled sends two or more."""
FIRMWARES = {"pc01": ("bios-pxe", "undionly.kpxe"), "pc02": ("uefi-pxe-bad-wire", "ipxe.efi")}
MACHINES = {name: Machine(name, number, ["alpha"]) for number, name in enumerate(FIRMWARES, 1)}


def run(lab: Lab) -> None:
    """dnsmasq hands out addresses, barista the rest."""
    server = lab.server(ports=2)
    cafe = Cafe(server, Site(machines=tuple(MACHINES.values()), network="proxy"))
    cafe.follow()
    # The router is another host on the same wire, as it is in a café: a namespace with a leg in the bridge.
    server.must("ip netns add router && ip link add leg type veth peer name wan netns router && ip link set leg master br0 up && "
                "ip -n router address add 192.168.77.254/24 dev wan && ip -n router link set wan up")
    handmade.router(server, "router", "wan", {machine.mac: machine.ip for machine in MACHINES.values()})
    serving = cafe.serve()
    clients = {name: lab.client(name, server.ports[number], firmware, MACHINES[name].mac)
               for number, (name, (firmware, _)) in enumerate(FIRMWARES.items())}
    for name, client in clients.items():
        said = client.wait_said("LAB: root on iSCSI", 240)
        lab.proves(f"{name} reached its root", "image=alpha" in said and f"serial={cafe.serial(name, 'alpha')}" in said, said)
        lab.note(f"{name}: {client.wait_off(60):.0f} s from power-on to power-off")
    for name, (firmware, loader) in FIRMWARES.items():
        told = cafe.transcript(MACHINES[name].mac)
        lab.proves(f"the first loader of {firmware} was {loader}, over TFTP",
                   any(event["service"] == "tftp" and loader in event["what"] for event in told), str(told))
    wire = clients["pc02"].middle
    assert isinstance(wire, BadWire)
    times = wire.sent / max(len(wire.blocks), 1)
    lab.note(f"the firmware's own TFTP client: {len(wire.blocks)} blocks, {wire.faults} faults on the wire, each block sent {times:.2f} times")
    lab.proves("no window stays doubled", wire.faults >= 20 and times <= MOST, f"{wire.sent} sent, {len(wire.blocks)} blocks, {wire.faults} faults")
    lab.proves("serve still runs", serving.status() is None, serving.output()[-2000:])

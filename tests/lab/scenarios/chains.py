"""Beside another DHCP server: proxyDHCP, and a card whose ROM is not iPXE."""

from __future__ import annotations

from labkit import handmade
from labkit.cafe import STATE, Cafe
from labkit.lab import Lab
from labkit.site import Machine, Site

PROVES = "beside a router's DHCP a plain BIOS PXE ROM is given undionly.kpxe and boots"
PC01 = Machine("pc01", 1, ["alpha"])


def run(lab: Lab) -> None:
    """dnsmasq hands out addresses, barista the rest."""
    server = lab.server(ports=1)
    cafe = Cafe(server, Site(machines=(PC01,), network="proxy"))
    cafe.apply()
    # The router is another host on the same wire, as it is in a café: a namespace with a leg in the bridge.
    server.must("ip netns add router && ip link add leg type veth peer name wan netns router && ip link set leg master br0 up && "
                "ip -n router address add 192.168.77.254/24 dev wan && ip -n router link set wan up")
    handmade.router(server, "router", "wan", PC01.mac, PC01.ip)
    serving = cafe.serve()
    client = lab.client("pc01", server.ports[0], "bios-pxe", PC01.mac)
    said = client.wait_said("LAB: root on iSCSI", 240)
    lab.proves("the machine reached its root", "image=alpha" in said, said)
    lab.note(f"pc01: {client.wait_off(60):.0f} s from power-on to power-off")
    transcript = server.must(f"cat {STATE}/serve/transcript* {serving.base}.out 2>/dev/null || cat {serving.base}.out")
    lab.proves("its first loader was undionly.kpxe, over TFTP", "undionly.kpxe" in transcript, transcript[-2000:])

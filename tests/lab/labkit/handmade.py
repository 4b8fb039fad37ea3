"""A target and a boot server made by hand: what barista is compared with, and what foreigners own.

It must never use names barista would use.
"""

from __future__ import annotations

from .server import ADDRESS, BRIDGE, Server

T = "/sys/kernel/config/target"


def target(server: Server, number: int, device: str, iqn: str, initiator: str) -> None:
    """One iblock backstore, one target, one LUN, one ACL, open to its initiator without CHAP."""
    server.must(f"""set -e
        b={T}/core/iblock_{number}/d{number}; mkdir -p $b
        echo -n udev_path={device} > $b/control; echo -n 1 > $b/enable; echo -n {device} > $b/udev_path
        echo -n handmade-{number} > $b/wwn/vpd_unit_serial
        t={T}/iscsi/{iqn}/tpgt_1; mkdir -p {T}/iscsi; mkdir {T}/iscsi/{iqn}; mkdir $t; mkdir $t/lun/lun_0
        ln -s $b $t/lun/lun_0/link; mkdir $t/np/{ADDRESS}:3260; mkdir $t/acls/{initiator}
        mkdir $t/acls/{initiator}/lun_0; ln -s $t/lun/lun_0 $t/acls/{initiator}/lun_0/link
        echo -n 0 > $t/attrib/authentication; echo -n 1 > $t/enable""")


def dnsmasq(server: Server, initiators: str, roots: dict[str, str]) -> None:
    """dnsmasq as DHCP, TFTP and script server; `roots` maps a MAC to its target."""
    server.must("mkdir -p /tftp && cp /usr/lib/ipxe/undionly.kpxe /usr/lib/ipxe/*.efi /tftp")
    lines = [f"interface={BRIDGE}", "dhcp-range=192.168.77.100,192.168.77.150,255.255.255.0,1h",
             "enable-tftp", "tftp-root=/tftp", "dhcp-match=set:ipxe,175", "dhcp-match=set:efi,option:client-arch,7",
             "dhcp-boot=tag:!ipxe,tag:!efi,undionly.kpxe", "dhcp-boot=tag:!ipxe,tag:efi,ipxe.efi", "dhcp-boot=tag:ipxe,boot.ipxe"]
    script = "#!ipxe\n" + "".join(
        f"iseq ${{net0/mac}} {mac} && set initiator-iqn {initiators} && sanboot iscsi:{ADDRESS}::::{iqn} ||\n"
        for mac, iqn in roots.items())
    server.put("/tftp/boot.ipxe", script)
    _start(server, lines, "")


def router(server: Server, namespace: str, interface: str, addresses: dict[str, str]) -> None:
    """dnsmasq as a router's DHCP server, in a network namespace: addresses and nothing about booting."""
    lines = [f"interface={interface}", "dhcp-range=192.168.77.100,192.168.77.150,255.255.255.0,1h",
             *(f"dhcp-host={mac},{ip}" for mac, ip in addresses.items())]
    _start(server, lines, f"ip netns exec {namespace} ")


def _start(server: Server, lines: list[str], where: str) -> None:
    common = ["bind-interfaces", "port=0", "log-dhcp", "no-ping", "leasefile-ro"]
    server.put("/run/lab/dnsmasq.conf", "\n".join(common + lines) + "\n")
    server.spawn(f"{where}dnsmasq --keep-in-foreground --log-facility=- --user=root -C /run/lab/dnsmasq.conf")

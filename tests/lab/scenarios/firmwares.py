"""Every firmware a café meets, with barista as the only DHCP server, and a customer who chooses."""

from __future__ import annotations

from labkit.cafe import Cafe
from labkit.lab import Lab
from labkit.qemu import Qemu
from labkit.site import ALPHA, BETA, Machine, Site

PROVES = "a plain BIOS PXE ROM and UEFI HTTP Boot reach their roots; customers of BIOS and UEFI pick another image"
MENU = ["alpha", "beta"]
PC01, PC02, PC03, PC04 = (Machine(f"pc0{number}", number, MENU) for number in (1, 2, 3, 4))
CHOICES = ((PC03, "uefi-pxe", ("\x1b[B", "\r")), (PC04, "bios-ipxe-rom", ("b",)))
"""One goes down a line and takes it, the other presses the entry's key: SeaBIOS takes an arrow from a serial line for Escape."""


def run(lab: Lab) -> None:
    """Two clients at once, and then two whose menus wait."""
    server = lab.server(ports=4)
    site = Site(machines=(PC01, PC02, PC03, PC04), images=(ALPHA, BETA))
    cafe = Cafe(server, site)
    cafe.follow()
    serving = cafe.serve()
    waiting = ((PC01, lab.client("pc01", server.ports[0], "bios-pxe", PC01.mac)),
               (PC02, lab.client("pc02", server.ports[1], "uefi-http", PC02.mac)))
    for machine, client in waiting:
        reached(lab, cafe, machine, client, "alpha")
    said = str(cafe.transcript(PC01.mac))
    lab.proves("the BIOS ROM was given undionly.kpxe", "undionly.kpxe" in said, said)
    said = str(cafe.transcript(PC02.mac))
    lab.proves("HTTP Boot fetched ipxe.efi without TFTP", "ipxe.efi" in said and "'tftp'" not in said, said)

    cafe.commit(site.with_(menu_timeout="2m"))
    cafe.settled()
    choosing = [(machine, lab.client(machine.name, server.ports[machine.number - 1], firmware, machine.mac), keys)
                for machine, firmware, keys in CHOICES]
    for _, client, keys in choosing:
        client.wait_shown(MENU[1], 240)
        for key in keys:
            client.type(key)
    for machine, client, _ in choosing:
        reached(lab, cafe, machine, client, "beta")
    lab.proves("serve still runs", serving.status() is None, serving.output()[-2000:])


def reached(lab: Lab, cafe: Cafe, machine: Machine, client: Qemu, image: str) -> None:
    """The machine's system runs from its own clone of the image, and leaves."""
    said = client.wait_said("LAB: root on iSCSI", 240)
    lab.proves(f"{machine.name} reached {image} on its own LUN",
               f"image={image}" in said and f"serial={cafe.serial(machine.name, image)}" in said, said)
    lab.note(f"{machine.name}: {client.wait_off(60):.0f} s from power-on to power-off")

"""Every firmware a café meets, with barista as the only DHCP server, and a customer who chooses."""

from __future__ import annotations

from labkit.cafe import Cafe
from labkit.lab import Lab
from labkit.qemu import Qemu
from labkit.site import ALPHA, BETA, Machine, Site

PROVES = "a plain BIOS PXE ROM and UEFI HTTP Boot reach their roots; a customer picks another image"
MENU = ["alpha", "beta"]
PC01, PC02, PC03 = (Machine(f"pc0{number}", number, MENU) for number in (1, 2, 3))
DOWN_AND_ENTER = ("\x1b[B", "\r")


def run(lab: Lab) -> None:
    """Two clients at once, and then one whose menu waits."""
    server = lab.server(ports=3)
    site = Site(machines=(PC01, PC02, PC03), images=(ALPHA, BETA))
    cafe = Cafe(server, site)
    cafe.apply()
    serving = cafe.serve()
    waiting = ((PC01, lab.client("pc01", server.ports[0], "bios-pxe", PC01.mac)),
               (PC02, lab.client("pc02", server.ports[1], "uefi-http", PC02.mac)))
    for machine, client in waiting:
        reached(lab, cafe, machine, client, "alpha")
    said = str(cafe.transcript(PC01.mac))
    lab.proves("the BIOS ROM was given undionly.kpxe", "undionly.kpxe" in said, said)
    said = str(cafe.transcript(PC02.mac))
    lab.proves("HTTP Boot fetched ipxe.efi without TFTP", "ipxe.efi" in said and "'tftp'" not in said, said)

    cafe.apply(site.with_(menu_timeout="2m"), expect=(0, 3))
    choosing = lab.client("pc03", server.ports[2], "uefi-pxe", PC03.mac)
    choosing.wait_shown(MENU[1], 240)
    for keys in DOWN_AND_ENTER:
        choosing.type(keys)
    reached(lab, cafe, PC03, choosing, "beta")
    lab.proves("serve still runs", serving.status() is None, serving.output()[-2000:])


def reached(lab: Lab, cafe: Cafe, machine: Machine, client: Qemu, image: str) -> None:
    """The machine's system runs from its own clone of the image, and leaves."""
    said = client.wait_said("LAB: root on iSCSI", 240)
    lab.proves(f"{machine.name} reached {image} on its own LUN",
               f"image={image}" in said and f"serial={cafe.serial(machine.name, image)}" in said, said)
    lab.note(f"{machine.name}: {client.wait_off(60):.0f} s from power-on to power-off")

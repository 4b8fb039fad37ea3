"""Reset policies: what a customer leaves behind, and what a machine keeps."""

from __future__ import annotations

from labkit.cafe import Cafe
from labkit.initiator import Initiator, scribble, scribbled
from labkit.lab import Lab
from labkit.site import ALPHA, BETA, Image, Machine, Site

PROVES = "an every-boot seat that is off is clean after apply, a never seat keeps its data, and disks keep their serials"
KEEPS = Image("beta", BETA.versions, "1", reset="never")
SEATS = (Machine("pc01", 1, ["alpha"]), Machine("pc02", 2, ["beta"]))


def run(lab: Lab) -> None:
    """Writes on both kinds of seat and applies."""
    server = lab.server()
    cafe = Cafe(server, Site(machines=SEATS, images=(ALPHA, KEEPS)))
    cafe.apply()
    serials = [cafe.serial("pc01", "alpha"), cafe.serial("pc02", "beta")]
    lab.proves("two seats have two serials", len(set(serials)) == 2, serials)
    for machine, image in (("pc01", "alpha"), ("pc02", "beta")):
        seat = Initiator(server, machine, image)
        disk = seat.login()
        shown = server.must(f"tail -c +5 /sys/block/{disk[5:]}/device/vpd_pg80 | tr -d '\\0'")
        lab.proves(f"the disk of {machine} shows the serial of its backstore", shown == cafe.serial(machine, image), shown)
        scribble(server, disk, f"customer-{machine}")
        seat.logout()
    lab.proves("what was written is there", scribbled(server, "/dev/cafe/seat.pc01.alpha.a") == "customer-pc01")
    tries = cafe.apply_until(lambda _: scribbled(server, "/dev/cafe/seat.pc01.alpha.a") == "", 150, "the every-boot seat is clean")
    lab.note(f"clean at apply {tries}")
    lab.proves("the every-boot seat is the image again", cafe.sum_of("seat.pc01.alpha.a") == cafe.sum_of("img.alpha.1"))
    lab.proves("the never seat kept what was written", scribbled(server, "/dev/cafe/seat.pc02.beta.a") == "customer-pc02")
    lab.proves("the serials are the same", [cafe.serial("pc01", "alpha"), cafe.serial("pc02", "beta")] == serials)
    last = cafe.apply()
    lab.proves("and nothing is left to do", "No changes." in last.out + last.err, last.out)

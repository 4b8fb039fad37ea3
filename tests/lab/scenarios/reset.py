"""Reset policies: what a customer leaves behind, and what a machine keeps."""

from __future__ import annotations

import time

from labkit.cafe import Cafe
from labkit.initiator import Initiator, boot_script, booted, scribble, scribbled
from labkit.lab import Lab
from labkit.qemu import wait_for
from labkit.site import ALPHA, BETA, PREFIX, Image, Machine, Site

PROVES = "an every-boot seat gets a clean disk at each boot and its last one goes by proof alone; a never seat keeps its data; serials stay"
KEEPS = Image("beta", BETA.versions, "1", reset="never")
PC01, PC02 = Machine("pc01", 1, ["alpha"]), Machine("pc02", 2, ["beta"])


def run(lab: Lab) -> None:
    """Boots pc01 again and again, as far as its scripts and its disk."""
    server = lab.server()
    cafe = Cafe(server, Site(machines=(PC01, PC02), images=(ALPHA, KEEPS)))
    cafe.follow()
    cafe.serve()
    image = cafe.sum_of("img.alpha.1")
    serials = [cafe.serial("pc01", "alpha"), cafe.serial("pc02", "beta")]
    lab.proves("two seats have two serials", len(set(serials)) == 2, serials)
    kept = booted(server, PC02, "beta")
    lab.proves("the disk that is kept has one target, and the boot table names it", cafe.targets("pc02", "beta") == {"a": kept}, kept)
    first = booted(server, PC01, "alpha")
    lab.proves("the first boot is given side a", first == cafe.targets("pc01", "alpha")["a"] and cafe.on("pc01", "alpha") == {"a": first}, first)
    lab.proves("another boot is given the same as long as no system was on it", booted(server, PC01, "alpha") == first)
    seats = {}
    for machine, target in (("pc01", first), ("pc02", kept)):
        seat = seats[machine] = Initiator(server, machine, target)
        disk = seat.login()
        shown = server.must(f"tail -c +5 /sys/block/{disk[5:]}/device/vpd_pg80 | tr -d '\\0'")
        lab.proves(f"the disk of {machine} shows the serial of its backstore", shown in serials, shown)
        scribble(server, disk, f"customer-{machine}")
        seat.logout()
    lab.proves("what was written is there", scribbled(server, "/dev/cafe/seat.pc01.alpha.a") == "customer-pc01")

    cafe.wait_spare("pc01", "alpha")
    uuid = cafe.sides("pc01", "alpha")["a"]["lv_uuid"]
    second = booted(server, PC01, "alpha")
    lab.proves("its second boot is given another disk", second != first, second)
    lab.proves("that is the image, byte for byte", cafe.sum_of("seat.pc01.alpha.b") == image)
    script = boot_script(server, PC01)
    lab.proves("and asked again before a system is on it, the same", second in script, script)
    seat = Initiator(server, "pc01", second)
    scribble(server, seat.login(), "second")
    since = time.monotonic()
    script = boot_script(server, PC01)
    lab.proves("a third boot has no clean disk: it is told why, and no target", "waits: no clean disk" in script and f"{PREFIX}:pc01.alpha" not in script, script)
    lab.proves("the first disk is there still, with what was written",
               cafe.sides("pc01", "alpha")["a"]["lv_uuid"] == uuid and scribbled(server, "/dev/cafe/seat.pc01.alpha.a") == "customer-pc01")
    wait_for(lambda: cafe.sides("pc01", "alpha").get("a", {}).get("lv_uuid") != uuid, 150, "the first disk goes once a system lasts on the second")
    lab.proves("the first disk went after a system had been on the second for a minute", time.monotonic() - since >= 60, time.monotonic() - since)
    lab.note(f"gone after {time.monotonic() - since:.0f} s")
    lab.proves("and the second still has its system and its data", seat.has_session() and scribbled(server, "/dev/cafe/seat.pc01.alpha.b") == "second")
    spare = cafe.wait_spare("pc01", "alpha")
    third = booted(server, PC01, "alpha")
    lab.proves("the third boot is given a clean disk, under a name that was never used", third not in (first, second)
               and cafe.sum_of(f"seat.pc01.alpha.{spare}") == image, (first, second, third))
    seat.logout()

    lab.proves("the never seat kept what was written", scribbled(server, "/dev/cafe/seat.pc02.beta.a") == "customer-pc02"
               and booted(server, PC02, "beta") == kept)
    lab.proves("the serials are the same", [cafe.serial("pc01", "alpha"), cafe.serial("pc02", "beta")] == serials)
    lab.proves("the agent holds nothing", cafe.settled()["held"] == [])

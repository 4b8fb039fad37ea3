"""A busy seat is never cut."""

from __future__ import annotations

from labkit.cafe import Cafe
from labkit.initiator import Initiator, scribble, scribbled
from labkit.lab import Lab
from labkit.site import ALPHA, BETA, Image, Machine, Site

PROVES = "a change that would drop a live session waits for it, changes nothing meanwhile, and is applied afterwards"
PC01, PC02 = Machine("pc01", 1, ["alpha"]), Machine("pc02", 2, ["alpha"])
NEWER = Image("alpha", {"1": "alpha.raw", "2": "beta.raw"}, "2")


def run(lab: Lab) -> None:
    """Logs in, then asks for a removal and for a new version."""
    server = lab.server()
    cafe = Cafe(server, Site(machines=(PC01, PC02)))
    cafe.apply()
    seat = Initiator(server, "pc01", "alpha")
    disk = seat.login()
    scribble(server, disk, "customer")
    uuid = cafe.volumes()["seat.pc01.alpha.a"]["lv_uuid"]

    held = cafe.apply(Site(machines=(PC02,), may_destroy=("pc01.alpha",)), expect=(3,))
    lab.proves("removing a busy seat is held and exits 3, naming it", "held" in held.out + held.err and "pc01" in held.out + held.err, held.out)
    lab.proves("its session lives", seat.has_session() and scribbled(server, disk) == "customer")
    held = cafe.apply(Site(machines=(PC01, PC02), images=(NEWER,), may_destroy=("pc01.alpha", "pc02.alpha")), expect=(3,))
    lab.proves("replacing its clone is held", "held" in held.out + held.err, held.out)
    volumes = cafe.volumes()
    lab.proves("its volume is the same one", volumes["seat.pc01.alpha.a"]["lv_uuid"] == uuid)
    lab.proves("its session lives and sees its data", seat.has_session() and scribbled(server, disk) == "customer")
    lab.proves("the seat that is free got the new version",
               cafe.read_file("seat.pc02.alpha.a", "name").strip() == "beta", volumes)
    pending = cafe.barista("plan --detailed-exitcode")
    lab.proves("plan still names what waits", "held" in pending.out, pending.out)

    seat.logout()
    tries = cafe.apply_until(lambda done: done.rc == 0, 150, "the held change is applied after the session ended")
    lab.note(f"applied at try {tries}")
    lab.proves("after it left, the seat is replaced", cafe.read_file("seat.pc01.alpha.a", "name").strip() == "beta")
    lab.proves("and nothing is left to do", "No changes." in cafe.apply().out)

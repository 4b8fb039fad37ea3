"""A busy seat is never cut."""

from __future__ import annotations

from labkit.cafe import REPOSITORY, Cafe
from labkit.initiator import Initiator, booted, scribble, scribbled
from labkit.lab import Lab
from labkit.qemu import wait_for
from labkit.site import ALPHA, BETA, Image, Machine, Site

PROVES = "what would drop a live session waits, changes nothing meanwhile, and is done when the seat is proven free; a new version comes with the next boot"
PC01, PC02 = Machine("pc01", 1, ["alpha"]), Machine("pc02", 2, ["alpha"])
NEWER = Image("alpha", {"1": "alpha.raw", "2": "beta.raw"}, "2")


def run(lab: Lab) -> None:
    """Logs in, then asks for a new version and for a removal."""
    server = lab.server()
    cafe = Cafe(server, Site(machines=(PC01, PC02)))
    cafe.follow()
    cafe.serve()
    first = booted(server, PC01, "alpha")
    seat = Initiator(server, "pc01", first)
    disk = seat.login()
    scribble(server, disk, "customer")
    uuid = cafe.sides("pc01", "alpha")["a"]["lv_uuid"]

    def untouched() -> bool:
        return (seat.has_session() and scribbled(server, disk) == "customer" and cafe.on("pc01", "alpha").get("a") == first
                and cafe.sides("pc01", "alpha")["a"]["lv_uuid"] == uuid)

    cafe.commit(Site(machines=(PC01, PC02), images=(NEWER,)))
    said = cafe.settled()
    lab.proves("a new version is held by nobody", said["held"] == [], said)
    lab.proves("its volume is the same one, its session lives and sees its data", untouched())
    spare = {name: cafe.wait_spare(name, "alpha") for name in ("pc01", "pc02")}
    lab.proves("both seats have a disk of the new version for their next boot",
               all(cafe.read_file(f"seat.{name}.alpha.{side}", "name").strip() == "beta" for name, side in spare.items()), spare)
    lab.proves("the old disk of the seat that was free is gone", len(cafe.sides("pc02", "alpha")) == 1, cafe.sides("pc02", "alpha"))

    cafe.commit(Site(machines=(PC02,), images=(NEWER,)))
    said = cafe.settled(held=True)
    lab.proves("removing a busy seat is held, naming it", "pc01" in str(said["held"]), said["held"])
    pending = cafe.barista("plan --detailed-exitcode")
    lab.proves("plan names what waits", pending.rc in (2, 3) and "held" in pending.out, pending.out)
    lab.proves("nothing of it changed", untouched())
    seat.logout()
    said = cafe.settled(held=True)
    lab.proves("that its session ended proves nothing: it is held still", "pc01" in str(said["held"])
               and cafe.sides("pc01", "alpha")["a"]["lv_uuid"] == uuid, said["held"])
    slip = server.run(f"barista apply --repo {REPOSITORY} --force pc77 --yes")
    lab.proves("a word for a machine that nobody knows is a slip", slip.rc == 64 and "pc77" in slip.err, slip.err)
    said = server.run(f"barista apply --repo {REPOSITORY} --force pc01 --yes", 120)
    lab.proves("a person's word is taken by apply", said.rc in (0, 3), said.out + said.err)
    wait_for(lambda: not cafe.sides("pc01", "alpha"), 90, "the seat is removed once a person says that it is off")
    lab.proves("a person's word that it is off is proof: the seat is gone", not cafe.targets("pc01", "alpha") and cafe.settled()["held"] == [])

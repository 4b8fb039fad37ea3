"""kill -9 at the operations of an apply, going up and going down."""

from __future__ import annotations

from labkit.cafe import SITE, Cafe
from labkit.failure import Failed
from labkit.initiator import Initiator, scribble, scribbled
from labkit.lab import Lab
from labkit.site import ALPHA, BETA, Image, Machine, Site

PROVES = "killed at any operation, apply run again finishes; nothing is lost and nothing unreported is left"
KEEPS = Image("beta", BETA.versions, "1", reset="never")
KEEPER = Machine("pc02", 2, ["beta"])
SMALL = Site(machines=(KEEPER,), images=(KEEPS,), may_destroy=("alpha@1", "pc01.alpha", "pc03.alpha"), max_destroy=50)
LARGE = SMALL.with_(machines=(Machine("pc01", 1, ["alpha"]), KEEPER, Machine("pc03", 3, ["alpha"])), images=(ALPHA, KEEPS))
SAMPLES = 5


def cut(cafe: Cafe, site: Site, operation: int) -> int:
    """Applies the site and kills it at that operation (0: never); returns how many it announced."""
    cafe.write(site)
    said = cafe.server.must(f"python3 -S -E /lab/cut.py {operation} barista apply --site {SITE} --yes", 300).split()
    if operation == 0 and said[1] != "0":
        raise Failed(f"apply ended with {said[1]}")
    return int(said[0])


def sample(count: int) -> list[int]:
    """Operations to die at: the first, the last, and evenly between."""
    return sorted({1 + round(i * (count - 1) / (SAMPLES - 1)) for i in range(SAMPLES)})


def run(lab: Lab) -> None:
    """Grows and shrinks the café with a kill each time."""
    server = lab.server()
    cafe = Cafe(server, SMALL)
    cafe.apply()
    seat = Initiator(server, "pc02", cafe.targets("pc02", "beta")["a"])
    scribble(server, seat.login(), "keepsake")
    seat.logout()
    small = cafe.dump()
    up = cut(cafe, LARGE, 0)
    large = cafe.dump()
    down = cut(cafe, SMALL, 0)
    lab.proves("apply announces its operations", up > 5 and down > 5, f"{up} up, {down} down; RUST_LOG=barista::host=debug")
    lab.same("down is the way up in reverse", small, cafe.dump())
    for number, (at_up, at_down) in enumerate(zip(sample(up), sample(down), strict=False)):
        for way, site, want, at in (("up", LARGE, large, at_up), ("down", SMALL, small, at_down)):
            cut(cafe, site, at)
            cafe.apply()
            again = cafe.apply()
            if "No changes." not in again.out + again.err:
                raise Failed(f"killed at operation {at} on the way {way}: the second apply still changes something\n{again.out}")
            if (got := cafe.dump()) != want:
                (lab.logs / "want").write_text(want)
                (lab.logs / "got").write_text(got)
                raise Failed(f"killed at operation {at} on the way {way}: another host, see {lab.logs}")
        lab.note(f"{number + 1}: killed at {at_up} of {up} up and at {at_down} of {down} down")
    lab.proves(f"killed at {SAMPLES} of {up} operations growing and {SAMPLES} of {down} shrinking, a rerun makes exactly the host it should")
    lab.proves("data of the machine beside it is not lost", scribbled(server, "/dev/cafe/seat.pc02.beta.a") == "keepsake")

"""Convergence: the second apply has nothing to do, and down-and-up is the same host."""

from __future__ import annotations

from labkit.cafe import Cafe
from labkit.lab import Lab
from labkit.site import ALPHA, BETA, EMPTY, Image, Machine, Site

PROVES = "apply is idempotent, and after everything is removed by consent the same site makes the same host"
DATA = Image("games", {"1": "beta.raw"}, "1", role="data", reset="never")


def run(lab: Lab) -> None:
    """Applies twice, empties, applies again, compares."""
    site = Site(machines=(Machine("pc01", 1, ["alpha"]), Machine("pc02", 2, ["beta", "alpha"])), images=(ALPHA, BETA))
    server = lab.server()
    cafe = Cafe(server, site)
    cafe.apply()
    again = cafe.apply()
    lab.proves("a second apply says No changes. and exits 0", "No changes." in again.out + again.err, again.out + again.err)
    pending = cafe.barista("plan --detailed-exitcode")
    lab.proves("plan --detailed-exitcode exits 0", pending.rc == 0, pending.out)
    lab.proves("a qcow2 source is the same disk as its raw form",
               cafe.sum_of("img.beta.1") == server.must("md5sum /lab/images/beta.raw").split()[0])
    before = cafe.dump()
    (lab.logs / "dump.before").write_text(before)

    empty = cafe.apply(EMPTY.with_(may_destroy=()), expect=(1, 3))
    lab.same("an empty site without consent removes nothing", before, cafe.dump())
    cafe.apply(EMPTY)
    lab.proves("an empty site with consent leaves nothing of ours", cafe.ours() == [], cafe.ours())
    cafe.apply(site)
    after = cafe.dump()
    (lab.logs / "dump.after").write_text(after)
    lab.same("applied again, volumes and configfs are byte-identical", before, after)

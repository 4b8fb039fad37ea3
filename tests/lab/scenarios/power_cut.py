"""The server loses power: while it applies, and while it serves."""

from __future__ import annotations

import time

from labkit.cafe import SITE, Cafe
from labkit.lab import Lab
from labkit.site import ALPHA, BETA, Image, Machine, Site

PROVES = "after a power cut one apply brings everything back, and a client finds what it had written"
KEEPS = Image("beta", BETA.versions, "1", reset="never")
PC01, PC02 = Machine("pc01", 1, ["beta"]), Machine("pc02", 2, ["alpha"])
SITE_OF = Site(machines=(PC01, PC02), images=(ALPHA, KEEPS))


def run(lab: Lab) -> None:
    """Cuts twice."""
    server = lab.server(ports=1, cache="writethrough")
    cafe = Cafe(server, SITE_OF)
    # What LVM leaves where the power goes between the two commits that make a pool (seen in its metadata area).
    server.must("lvcreate -y -L 4m -n pool --addtag barista --addtag barista.site=lab cafe")
    applying = server.spawn(f"env RUST_LOG=barista::host=debug barista apply --site {SITE} --yes")
    applying.wait_said("img.", 60)
    time.sleep(1.5)
    running = applying.status() is None
    server.kill()
    lab.proves("the power went while apply was at work", running)
    server.start()
    cafe.write(SITE_OF)
    cafe.apply()
    again = cafe.apply()
    lab.proves("a pool that an earlier cut left half made is whole",
               server.must("lvs --noheadings -o segtype cafe/pool").strip() == "thin-pool")
    lab.proves("after the cut, apply finishes, and again says No changes.", "No changes." in again.out + again.err, again.out)
    lab.proves("no image is half full", cafe.sum_of("img.alpha.1") == server.must("md5sum /lab/images/alpha.raw").split()[0]
               and cafe.sum_of("img.beta.1") == server.must("md5sum /lab/images/beta.raw").split()[0])

    cafe.serve()
    client = lab.client("pc01", server.ports[0], "bios-ipxe-rom", PC01.mac, mode="stay")
    client.wait_said("LAB: tick 3", 240)
    server.kill()
    client.kill()
    started = time.monotonic()
    server.start()
    cafe.write(SITE_OF)
    back = cafe.apply(expect=(0, 3))
    lab.note(f"from power-on of the server to applied: {time.monotonic() - started:.0f} s")
    lab.note(f"apply said: {(back.out.strip().splitlines() or [''])[-1]}")
    lab.proves("both disks are offered again", sum(name.startswith("iscsi/") for name in cafe.ours()) == 2, cafe.ours())
    cafe.serve()
    client = lab.client("pc01-again", server.ports[0], "bios-ipxe-rom", PC01.mac)
    said = client.wait_said("LAB: root on iSCSI", 240)
    lab.proves("the client boots again and finds its disk as it left it", "boots=2" in said, said)
    client.wait_off(60)

"""What is not ours stays as it is, also where names collide."""

from __future__ import annotations

from labkit import handmade
from labkit.cafe import TARGETS, Cafe
from labkit.lab import Lab
from labkit.site import EMPTY, Machine, Site

PROVES = "volumes, pools, targets and backstores of somebody else are never touched; a colliding name is reported"
THEIRS = "iqn.2001-01.example.somebody:disk"


def snapshot(cafe: Cafe) -> str:
    """The foreign objects, uuids and all."""
    volumes = {name: lv for name, lv in cafe.volumes().items() if name in ("theirs", "theirpool", "thick", "img.alpha.1")}
    tree = cafe.server.must(f"cd {TARGETS} && find iscsi/{THEIRS} core/iblock_7 -type d -o -type l | grep -v statistics | sort; "
                            "cat core/iblock_7/d7/info core/iblock_7/d7/alias core/iblock_7/d7/wwn/vpd_unit_serial; sha256sum /dev/cafe/thick")
    return f"{volumes}\n{tree}"


def run(lab: Lab) -> None:
    """Puts strangers beside the café, applies, empties, and looks at the strangers."""
    server = lab.server()
    server.must("lvcreate -q -y -L 64M -n thick cafe && lvcreate -q -y --type thin-pool -L 256M -n theirpool cafe && "
                "lvcreate -q -y -V 64M -T cafe/theirpool -n theirs && lvcreate -q -y -L 48M -n img.alpha.1 cafe && "
                "dd if=/dev/urandom of=/dev/cafe/thick bs=1M count=8 conv=fsync status=none")
    handmade.target(server, 7, "/dev/cafe/theirs", THEIRS, "iqn.2001-01.example.somebody:client")
    site = Site(machines=(Machine("pc01", 1, ["alpha"]),))
    cafe = Cafe(server, site)
    before = snapshot(cafe)
    collided = cafe.apply(expect=(1, 3))
    said = collided.out + collided.err
    lab.proves("a volume with our name but not our mark is reported by name", "img.alpha.1" in said, said)
    lab.proves("and not a byte of anything foreign changed", snapshot(cafe) == before)
    lab.proves("nor was a seat made from it", "seat.pc01.alpha.a" not in cafe.volumes())
    server.must("lvrename cafe img.alpha.1 mine")
    cafe.apply()
    strangers = snapshot(cafe).split("\n", 1)[1]
    lab.proves("with the name free, the site is applied", "seat.pc01.alpha.a" in cafe.volumes())
    lab.proves("beside the strangers as they were", strangers == before.split("\n", 1)[1])
    cafe.apply(EMPTY)
    lab.proves("an emptied site leaves the strangers alone",
               snapshot(cafe).split("\n", 1)[1] == strangers and {"thick", "theirs", "theirpool", "mine"} <= set(cafe.volumes()))

"""Pushes that are killed and power cuts within pushes: whatever is cut off, the room comes back."""

from __future__ import annotations

import random
import subprocess
import time

from labkit.cafe import REPOSITORY, STATE, Cafe
from labkit.failure import Failed
from labkit.initiator import Initiator, booted, scribble, scribbled
from labkit.lab import Lab
from labkit.operator import Clone
from labkit.site import ALPHA, BETA, Image, Machine, Site

PROVES = "60 pushes with kill -9 at random and 30 power cuts: every one comes back with every target, the last accepted commit and every byte, and takes the next push"
KILLS, CUTS, SEED = 60, 30, 7
KEEPS = Image("beta", BETA.versions, "1", reset="never")
NEWER = Image("alpha", {"1": "alpha.raw", "2": "beta.raw"}, "2")
KEPT, FREE, COMES, USED = Machine("pc01", 1, ["beta"]), Machine("pc02", 2, ["alpha"]), Machine("pc03", 3, ["alpha"]), Machine("pc04", 4, ["alpha"])
SMALL = Site(machines=(KEPT, FREE, USED), images=(ALPHA, KEEPS), may_destroy=("alpha@2",), max_destroy=1000)
LARGE = SMALL.with_(machines=(KEPT, FREE, COMES, USED))
SITES = (SMALL, LARGE, LARGE.with_(images=(NEWER, KEEPS)))
SOURCES = {"img.alpha.1": "alpha.raw", "img.alpha.2": "beta.raw", "img.beta.1": "beta.raw"}
MARKERS = {"seat.pc01.beta.a": "keepsake", "seat.pc04.alpha.a": "customer"}
LONGEST = 8.0
"""Within so many seconds of its beginning a push is cut off: its hooks, its plan, its first steps."""


class Room:
    """A café whose pushes are cut off."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.random, self.round = lab, random.Random(SEED), 0
        self.server = lab.server(cache="writethrough")
        self.cafe = Cafe(self.server, SMALL)
        self.cafe.follow()
        self.cafe.serve()
        self.given = {"seat.pc01.beta.a": booted(self.server, KEPT, "beta"), "seat.pc04.alpha.a": booted(self.server, USED, "alpha")}
        for volume, target in self.given.items():
            seat = Initiator(self.server, volume.split(".")[1], target)
            scribble(self.server, seat.login(), MARKERS[volume])
            seat.logout()
        self.sums = {volume: self.server.must(f"md5sum /lab/images/{source}").split()[0] for volume, source in SOURCES.items()}
        self.uuids = {volume: self.cafe.volumes()[volume]["lv_uuid"] for volume in MARKERS}
        self.clone = Clone(lab.work / "site", self.server, REPOSITORY)
        self.clone.git("fetch", "-q", "origin", "main")
        self.clone.git("reset", "-q", "--hard", "FETCH_HEAD")
        self.accepted = self.cafe.head()

    def push(self) -> tuple[subprocess.Popen[str], str]:
        """Begins to push the next site."""
        self.round += 1
        # What was refused or cut off before it arrived is not built upon.
        self.clone.git("reset", "-q", "--hard", self.accepted)
        commit = self.clone.commit(SITES[self.round % len(SITES)].files() | {"README": f"round {self.round}\n"}, f"Round {self.round}")
        return self.clone.begin_push(), commit

    def killed(self) -> None:
        """kill -9 of the agent at some moment of a push."""
        pushing, commit = self.push()
        at = self.random.uniform(0, LONGEST)
        time.sleep(at)
        self.cafe.agent.signal("KILL")
        self.cafe.agent.wait(20)
        self.cafe.start_agent()
        said = self.clone.ended(pushing, 180)
        self.comes_back(f"killed {at:.1f} s into a push", commit, said)

    def cut(self, rebuild: bool = False) -> None:
        """A power cut at some moment of a push; with `rebuild`, another one of what brought the room back, and that was killed."""
        pushing, commit = self.push()
        at = self.random.uniform(0, LONGEST)
        time.sleep(at)
        self.server.kill()
        said = self.clone.ended(pushing, 1)
        self.server.start()
        if rebuild:
            self.cafe.start_agent()
            time.sleep(self.random.uniform(0.5, LONGEST))
            self.cafe.agent.signal("KILL")
            self.server.kill()
            self.server.start()
        self.cafe.resume()
        self.comes_back(f"power cut {at:.1f} s into a push{', and one of the rebuild that was killed' if rebuild else ''}", commit, said)

    def comes_back(self, what: str, commit: str, said: tuple[int, str]) -> None:
        """All that has to hold once the agent had its time."""
        began = time.monotonic()
        head = self.cafe.head()
        if head not in (self.accepted, commit) or said[0] == 0 and head != commit:
            raise Failed(f"{what}: the branch is at {head}; accepted were {self.accepted} and perhaps {commit}\n{said[1][-1500:]}")
        self.accepted = head
        self.cafe.settled(240)
        machines = {machine.name: machine for machine in (KEPT, FREE, USED, COMES)}
        listed = self.server.must(f"cat {STATE}/boot/table.json")
        wanted = [name for name in machines if f'"{name}"' in listed]
        for name in wanted:
            image = machines[name].boot[0]
            if image == "alpha":
                self.cafe.wait_spare(name, image)
            elif not self.cafe.on(name, image):
                raise Failed(f"{what}: {name} has no target")
        for volume, target in self.given.items():
            _, name, image, _ = volume.split(".")
            if target not in self.cafe.on(name, image).values():
                raise Failed(f"{what}: {target} is gone or off: {self.cafe.targets(name, image)}")
        volumes = self.cafe.volumes()
        for volume, uuid in self.uuids.items():
            if volumes[volume]["lv_uuid"] != uuid or scribbled(self.server, f"/dev/cafe/{volume}") != MARKERS[volume]:
                raise Failed(f"{what}: {volume} is not what it was")
        for volume, sums in self.sums.items():
            if volume in volumes and self.cafe.sum_of(volume) != sums:
                raise Failed(f"{what}: {volume} does not hold its source")
        self.lab.note(f"{self.round}: {what}; back {time.monotonic() - began:.0f} s later at {'the new' if head == commit else 'the last'} commit")

    def takes_a_push(self) -> None:
        """The proof that nothing stands in the way."""
        pushing, commit = self.push()
        status, said = self.clone.ended(pushing, 180)
        if status != 0 or self.cafe.head() != commit:
            raise Failed(f"the next push is not taken\n{said}")
        self.comes_back("a push", commit, (status, said))


def run(lab: Lab) -> None:
    """The long one."""
    room = Room(lab)
    kinds = ["kill"] * KILLS + ["cut"] * (CUTS * 2 // 3) + ["rebuild"] * (CUTS - CUTS * 2 // 3)
    room.random.shuffle(kinds)
    for kind in kinds:
        room.killed() if kind == "kill" else room.cut(rebuild=kind == "rebuild")
    lab.proves(f"{KILLS} pushes with kill -9 and {CUTS} power cuts: each time every target, the last accepted commit and every byte came back")
    room.takes_a_push()
    lab.proves("and the next push is taken")

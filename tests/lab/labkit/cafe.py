"""barista as a scenario uses it: a site on the server VM and the commands on it.

It must never help barista: it writes sites and runs commands, and looks at the host for itself.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import tarfile
import time
from collections.abc import Callable
from typing import Any

from .failure import Failed
from .qemu import wait_for
from .server import Background, Done, Server
from .site import PREFIX, Site

STATE = "/var/lib/barista"
REPOSITORY = f"{STATE}/site.git"
TARGETS = "/sys/kernel/config/target"
SITE = "/root/site"
HOURS = 300.0
UNPRIVILEGED = ("setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs "
                "--inh-caps +net_bind_service,+net_raw --ambient-caps +net_bind_service,+net_raw")


TREE = r"""
import os, re, sys
os.chdir(sys.argv[1])
LEFT_OUT = {"statistics", "fabric_statistics", "action", "dynamic_sessions"}
CHANGING = ((r"dm-\d+", "dm-N"), (r"Major: \d+ Minor: \d+", "Major: N Minor: N"), (r"HBA Index: \d+", "HBA Index: N"))

def show(path):
    if os.path.basename(path) in LEFT_OUT:
        return
    if os.path.islink(path):
        print(path, "->", os.readlink(path))
    elif os.path.isdir(path):
        print(path + "/")
        for name in sorted(os.listdir(path)):
            show(f"{path}/{name}")
    elif os.stat(path).st_mode & 0o400:
        try:
            text = open(path, errors="replace").read()
        except OSError:
            text = ""
        for pattern, instead in CHANGING:
            text = re.sub(pattern, instead, text)
        print(path, "=", text.replace("\n", ";"))

for top, mine in (("core", r"iblock_1\d{5}"), ("iscsi", re.escape(sys.argv[2]))):
    for name in sorted(os.listdir(top) if os.path.isdir(top) else []):
        if re.match(mine, name):
            show(f"{top}/{name}")
"""
"""Prints everything of the kernel's targets that is ours: one process for hundreds of files, as each costs much under emulation."""


def tar_of(files: dict[str, str]) -> bytes:
    """The files as a tar archive, all with the same time."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for path, text in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()


class Cafe:
    """One site on one server."""

    def __init__(self, server: Server, site: Site) -> None:
        self.server = server
        self.agent: Background
        self.said: Done
        self.write(site)

    def write(self, site: Site) -> None:
        """Replaces the site's directory."""
        self.site = site
        self.server.must(f"rm -rf {SITE} && mkdir -p {SITE} && tar -x -C {SITE}", stdin=tar_of(site.files()))

    def barista(self, arguments: str, timeout: float = HOURS, before: str = "") -> Done:
        """Runs barista with the site's directory."""
        verb, _, rest = arguments.partition(" ")
        return self.server.run(f"{before} barista {verb} --site {SITE} {rest}", timeout)

    def apply(self, site: Site | None = None, expect: tuple[int, ...] = (0,), before: str = "") -> Done:
        """Applies, and fails unless the exit status is an expected one."""
        if site is not None:
            self.write(site)
        done = self.barista("apply --yes", before=before)
        if done.rc not in expect:
            raise Failed(f"barista apply: status {done.rc}\n{done.out[-3000:]}\n{done.err[-3000:]}")
        return done

    def apply_until(self, condition: Callable[[Done], bool], seconds: float, what: str) -> int:
        """Applies again and again, as a seat counts as busy for a while after its last sign of life; returns how often."""
        deadline = time.monotonic() + seconds
        for tries in itertools.count(1):
            done = self.apply(expect=(0, 3))
            if condition(done):
                return tries
            if time.monotonic() > deadline:
                raise Failed(f"not within {seconds:.0f} s: {what}; the last apply said\n{done.out}\n{done.err[-1500:]}")
            time.sleep(10)
        raise AssertionError("count has no end")

    def follow(self, site: Site | None = None, seconds: float = HOURS) -> Background:
        """Starts the agent on a repository in the VM, commits the site and waits until the host matches it."""
        self.server.must(f"[ -d {REPOSITORY} ] || barista init {REPOSITORY}; mkdir -p {STATE}/serve && chown -R 65534:65534 {STATE}/serve")
        self.start_agent()
        self.commit(site or self.site)
        self.settled(seconds)
        return self.agent

    def start_agent(self) -> None:
        """Starts the agent on the repository that is there."""
        self.agent = self.server.spawn(f"barista agent --repo {REPOSITORY} --state {STATE}")

    def resume(self) -> Background:
        """What starts with a server that was restarted: its agent and its serving half."""
        self.start_agent()
        return self.serve()

    def commit(self, site: Site) -> str:
        """Commits the site on the host itself, as an operator at its console would; returns the commit."""
        self.write(site)
        return self.server.must(f"""set -e
            export GIT_DIR={REPOSITORY} GIT_WORK_TREE={SITE} GIT_INDEX_FILE=/run/lab/index GIT_AUTHOR_NAME=lab GIT_AUTHOR_EMAIL=lab@example.com
            export GIT_COMMITTER_NAME=lab GIT_COMMITTER_EMAIL=lab@example.com
            rm -f $GIT_INDEX_FILE; cd {SITE}; git -c core.bare=false add -A; tree=$(git write-tree); before=$(git rev-parse -q --verify main || true)
            [ -n "$before" ] && [ $(git rev-parse main^{{tree}}) = $tree ] && {{ echo $before; exit; }}
            commit=$(git commit-tree $tree ${{before:+-p $before}} -m "A change"); git update-ref refs/heads/main $commit; echo $commit""").strip()

    def status(self) -> dict[str, Any]:
        """What the agent says of itself."""
        said = self.server.run(f"cat {STATE}/status.json").out
        return dict(json.loads(said)) if said else {}

    def head(self) -> str:
        """The commit that the followed branch names."""
        return self.server.must(f"git -C {REPOSITORY} rev-parse main").strip()

    def settled(self, seconds: float = HOURS, held: bool = False) -> dict[str, Any]:
        """Waits until the agent says that the host matches the branch's head; with `held`, but for what is held."""
        head = self.head()

        def there() -> dict[str, Any] | None:
            if self.agent.status() is not None:
                raise Failed(f"the agent ended: {self.agent.output()[-2000:]}")
            said = self.status()
            serving, last = said.get("serving") or {}, said.get("last") or {}
            if serving.get("revision", {}).get("id") != head or "applied" not in last.get("result", {}):
                return None
            return said if bool(said["held"]) == held else None
        try:
            return dict(wait_for(there, seconds, "", 0.5))  # type: ignore[call-overload]
        except Failed:
            raise Failed(f"the host does not match {head} within {seconds:.0f} s; status {json.dumps(self.status())[:1500]}\n"
                         f"{self.agent.output()[-3000:]}") from None

    def targets(self, machine: str, image: str) -> dict[str, str]:
        """The targets of a seat by the letter of their side."""
        listed = self.server.run(f"cd {TARGETS}/iscsi && ls -d {PREFIX}:{machine}.{image}.*").out.split()
        return {name.rsplit("-", 1)[0].rsplit(".", 1)[1]: name for name in listed}

    def on(self, machine: str, image: str) -> dict[str, str]:
        """Those of them that let their machine in."""
        return {side: name for side, name in self.targets(machine, image).items()
                if self.server.run(f"cat {TARGETS}/iscsi/{name}/tpgt_1/enable").out.strip() == "1"}

    def sides(self, machine: str, image: str) -> dict[str, dict[str, str]]:
        """The volumes of a seat by the letter of their side."""
        head = f"seat.{machine}.{image}."
        return {name.removeprefix(head): lv for name, lv in self.volumes().items() if name.startswith(head)}

    def wait_spare(self, machine: str, image: str, seconds: float = 90) -> str:
        """Waits until a seat has a clean side: one whose target is off; returns its letter."""
        def spare() -> str:
            return next(iter(sorted(self.targets(machine, image).keys() - self.on(machine, image).keys())), "")
        return str(wait_for(spare, seconds, f"{machine} has a clean side of {image}", 1))

    def still(self, seconds: float = 120) -> None:
        """Waits until a plan of the site finds nothing to do but what is held: what was used has been replaced, what is old is gone."""
        def nothing() -> bool:
            self.said = self.barista("plan --detailed-exitcode")
            return self.said.rc in (0, 3)
        try:
            wait_for(nothing, seconds, "", 2)
        except Failed:
            raise Failed(f"the host is still to change after {seconds:.0f} s:\n{self.said.out[-3000:]}\n{self.said.err[-1000:]}") from None

    def serve(self) -> Background:
        """Starts `barista serve` as nobody, with the two capabilities it may have, and waits until it answers."""
        self.server.must(f"mkdir -p {STATE}/serve && chown -R 65534:65534 {STATE}/serve")
        running = self.server.spawn(f"{UNPRIVILEGED} /usr/local/bin/barista serve --state {STATE}")
        self.wait_served(running)
        return running

    def wait_served(self, running: Background) -> None:
        """Waits until the HTTP door answers, which is the last one opened."""
        def up() -> bool:
            if running.status() is not None:
                raise Failed(f"barista ended: {running.output()[-2000:]}")
            return self.server.run("ss -Hltn 'sport = :8080' | grep -q . && ss -Hlun 'sport = :67' | grep -q .").rc == 0
        wait_for(up, 60, "barista serve opens its ports", 0.5)

    def transcript(self, mac: str) -> list[dict[str, Any]]:
        """What serve wrote down of a machine, oldest first; it writes a second after the event."""
        time.sleep(2)
        document = json.loads(self.server.must(f"cat {STATE}/serve/transcript.json"))
        return list(document["machines"][mac]["events"])

    def sum_of(self, volume: str) -> str:
        """A volume's checksum, read past the page cache."""
        return self.server.must(f"lvchange -ay -K cafe/{volume} && dd if=/dev/cafe/{volume} iflag=direct bs=1M status=none | md5sum").split()[0]

    def read_file(self, volume: str, name: str) -> str:
        """A file of the root partition on a volume, read without the volume noticing."""
        return self.server.must(f"""set -e; d=$(losetup -r -o $(((1 + 26) << 20)) -f --show /dev/cafe/{volume})
            mkdir -p /mnt && mount -o ro,noload $d /mnt; cat /mnt/{name} || true; umount /mnt; losetup -d $d""")

    def volumes(self) -> dict[str, dict[str, str]]:
        """Every volume of the group by name, as LVM reports it."""
        return self.volumes_of(self.server)

    @staticmethod
    def volumes_of(server: Server) -> dict[str, dict[str, str]]:
        """The same of a server that has no site directory."""
        text = server.must("lvs --reportformat json --units b --nosuffix -o lv_name,lv_tags,lv_size,lv_attr,origin,lv_uuid cafe")
        return {lv["lv_name"]: lv for lv in json.loads(text)["report"][0]["lv"]}

    def ours(self) -> list[str]:
        """Names of everything on the host that carries barista's names: volumes, targets, backstores."""
        volumes = [name for name in self.volumes() if name.startswith(("img.", "seat."))]
        listed = self.server.must(f"cd {TARGETS} && ls -d iscsi/{PREFIX}* core/iblock_1?????* 2>/dev/null || true")
        return volumes + listed.split()

    def serial(self, machine: str, image: str) -> str:
        """The serial number the disk of a seat shows: the same on every side."""
        said = self.server.must(f"cat {TARGETS}/core/iblock_*/lab.{machine}.{image}.[a-z]/wwn/vpd_unit_serial")
        serials = {line.split()[-1] for line in said.splitlines()}
        if len(serials) != 1:
            raise Failed(f"the sides of {machine}.{image} show several serials: {serials}")
        return serials.pop()

    def dump(self) -> str:
        """Everything of ours that should be the same after the same apply: no uuids, epochs, times, counters,
        sessions or device numbers."""
        lines = [f"{lv['lv_name']} size={lv['lv_size']} attr={lv['lv_attr']} origin={lv['origin']} "
                 f"tags={lv['lv_tags']}" for _, lv in sorted(self.volumes().items())]
        tree = self.server.must(f"python3 -S -E - {TARGETS} {PREFIX}", 120, stdin=TREE.encode())
        text = "\n".join(lines) + "\n" + tree
        # A target's name ends in eight digits of its disk's UUID; a clone names the UUID of what it is a clone of.
        text = re.sub(rf"({re.escape(PREFIX)}:[a-z0-9.-]*\.[a-z])-[0-9a-f]{{8}}", r"\1-U", text)
        text = re.sub(r"barista\.(base|epoch)=[^,\s]*", r"barista.\1=U", text)
        # Which HBA a backstore got depends on what a cut run had left there; one without a backstore keeps its number.
        disks = dict(re.findall(r"core/iblock_(\d+)/(\w+\.[^/\s]+)", text))
        text = re.sub(r"iblock_(\d+)", lambda found: f"iblock_{disks.get(found[1], found[1])}", text)
        # A session is the client's: one that was switched off ends when the kernel has waited long enough for it.
        kept = [line for line in text.splitlines() if not re.search(r"/acls/[^/ ]+/info = ", line)]
        return "\n".join(sorted(kept))


"""barista as a scenario uses it: a site on the server VM and the commands on it.

It must never help barista: it writes sites and runs commands, and looks at the host for itself.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import time
from collections.abc import Callable
from typing import Any

from .failure import Failed
from .qemu import wait_for
from .server import Background, Done, Server
from .site import PREFIX, Site

STATE = "/var/lib/barista"
TARGETS = "/sys/kernel/config/target"
SITE = "/root/site"
HOURS = 300.0
UNPRIVILEGED = ("setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs "
                "--inh-caps +net_bind_service,+net_raw --ambient-caps +net_bind_service,+net_raw")


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
        """The serial number the disk of a seat shows."""
        return self.server.must(f"cat {TARGETS}/core/iblock_*/lab.{machine}.{image}/wwn/vpd_unit_serial").split()[-1]

    def dump(self) -> str:
        """Everything of ours that should be the same after the same apply: no uuids, times, counters or device numbers."""
        lines = [f"{lv['lv_name']} size={lv['lv_size']} attr={lv['lv_attr']} origin={lv['origin']} "
                 f"tags={lv['lv_tags']}" for _, lv in sorted(self.volumes().items())]
        tree = self.server.must(f"""cd {TARGETS} || exit 1
            for top in $(ls -d core/iblock_1?????* iscsi/{PREFIX}* 2>/dev/null); do
              find $top \\( -name statistics -o -name fabric_statistics -o -name action -o -name dynamic_sessions \\) -prune -o -type l -printf '%p -> %l\\n' \\
                -o -type d -printf '%p/\\n' -o -type f -perm -u=r -printf '%p\\n'
            done | sort | while read -r path arrow to; do
              if [ -n "$arrow" ] || [ "$path" != "${{path%/}}" ]; then echo "$path $arrow $to"
              else echo "$path = $(tr '\\n' ';' < $path 2>/dev/null | sed -e 's/dm-[0-9]*/dm-N/; s/Major: [0-9]* Minor: [0-9]*/Major: N Minor: N/; s/HBA Index: [0-9]*/HBA Index: N/')"; fi
            done""", 120)
        return "\n".join(lines) + "\n" + tree


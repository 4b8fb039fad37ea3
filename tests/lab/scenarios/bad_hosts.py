"""Hosts that are not ready: each gets a clear message, and nothing half-done."""

from __future__ import annotations

from labkit.cafe import SITE, Cafe
from labkit.lab import Lab
from labkit.server import Done
from labkit.site import Machine, Site

PROVES = "no VG, no dm-thin, no configfs, no root, no tool, two applies: a message that names the thing, and nothing half-done"
GOOD = Site(machines=(Machine("pc01", 1, ["alpha"]),))
THIN = "/lib/modules/*/kernel/drivers/md/dm-thin-pool.ko*"


def run(lab: Lab) -> None:
    """Breaks one thing at a time, mends it, and applies at the end."""
    server = lab.server()
    cafe = Cafe(server, GOOD)

    def refused(what: str, done: Done, *named: str) -> None:
        said = done.out + done.err
        lab.proves(f"{what}: refused or held, naming it", done.rc in (1, 3) and any(word in said for word in named), f"status {done.rc}\n{said}")
        lab.proves(f"{what}: nothing was made", not [v for v in cafe.volumes() if v.startswith(("img.", "seat."))], cafe.volumes())

    server.must(f"mkdir -p /root/away && rmmod dm_thin_pool && mv {THIN} /root/away && depmod -a", 120)
    refused("dm-thin missing", cafe.barista("apply --yes"), "dm-thin", "dm_thin", "thin-pool")
    server.must("mv /root/away/* $(dirname $(ls /lib/modules/*/kernel/drivers/md/dm-mod.ko*)) && depmod -a && modprobe dm_thin_pool", 120)

    server.must("chmod 755 /root /root/site && chmod -R a+rX /root/site")
    refused("not root", cafe.barista("apply --yes --state /tmp/state", before="setpriv --reuid 65534 --regid 65534 --clear-groups"), "root")
    for tool, package in (("lvm", "lvm2"), ("qemu-img", "qemu-utils")):
        away = server.must(f"command -v {tool}").strip()
        away = server.must(f"readlink -f {away}").strip()
        server.must(f"mv {away} /root/away/")
        done = cafe.barista("apply --yes")
        server.must(f"mv /root/away/* {away}")
        refused(f"{tool} missing", done, package, tool)
    cafe.write(GOOD.with_(volume_group="nosuch"))
    refused("no volume group", cafe.barista("apply --yes"), "nosuch")
    cafe.write(GOOD)
    server.must("umount /sys/kernel/config")
    refused("configfs not mounted", cafe.barista("apply --yes"), "configfs")
    server.must("mount -t configfs configfs /sys/kernel/config")

    both = [server.spawn(f"barista apply --site {SITE} --yes") for _ in range(2)]
    ends = [one.wait(200) for one in both]
    said = "\n---\n".join(one.output() for one in both)
    lab.proves("two applies at once: one does the work, the other waits or says why not", 0 in ends and set(ends) <= {0, 1, 3}
               and (ends == [0, 0] or "lock" in said or "another" in said), f"{ends}\n{said}")
    lab.proves("and the host is whole", "No changes." in cafe.apply().out)

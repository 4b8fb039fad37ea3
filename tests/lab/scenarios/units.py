"""The services as people run them: started by systemd, within their units' bounds, and back by themselves after a power cut."""

from __future__ import annotations

import time

from labkit.cafe import STATE, TARGETS, Cafe
from labkit.lab import Lab
from labkit.operator import Clone
from labkit.qemu import wait_for
from labkit.server import Server
from labkit.site import PREFIX, Machine, Site

PROVES = "under a real systemd the units of init start both services, a pushed seat boots within their bounds, and the room comes back after a power cut"
PC01 = Machine("pc01", 1, ["alpha"])
REPOSITORY = "/srv/cafe.git"
UNITS = ("barista-agent", "barista-serve")
START = ("systemd-sysusers barista.conf && systemd-tmpfiles --create barista.conf && systemctl restart systemd-modules-load && "
         "systemctl daemon-reload && systemctl enable --now barista-agent barista-serve")
"""What README and `init` tell people to type."""


def said(server: Server) -> str:
    """What systemd and the services say, for a failure."""
    return server.run("systemctl --no-pager -l status barista-agent barista-serve; journalctl --no-pager -n 60 -o cat; systemctl --failed").out


def up(server: Server, seconds: float) -> None:
    """Waits until both units are active, by their own notification."""
    try:
        wait_for(lambda: server.run(f"systemctl is-active {' '.join(UNITS)}").out.split() == ["active"] * 2, seconds, "both units", 1)
    except Exception as error:
        raise type(error)(f"{error}\n{said(server)}") from None


def value(server: Server, unit: str, name: str) -> str:
    """A property of a unit."""
    return server.must(f"systemctl show -P {name} {unit}").strip()


def boots(lab: Lab, server: Server, sentence: str) -> None:
    """A machine boots from its disk and switches itself off."""
    client = lab.client("pc01", server.ports[0], "bios-ipxe-rom", PC01.mac)
    try:
        lab.proves(sentence, "image=alpha" in client.wait_said("LAB: root on iSCSI", 240))
        client.wait_off(60)
    except Exception as error:
        raise type(error)(f"{error}\n{said(server)}") from None


def run(lab: Lab) -> None:
    """Starts them as README does, boots a machine, kills them, hangs one, and cuts the power."""
    server = lab.server(ports=1, init="systemd")
    server.must("systemctl enable --now dm-event.socket lvm2-monitor.service", 120)
    server.must(f"barista init {REPOSITORY} --systemd", 120)
    server.must("printf '[allowed-paths]\\nimage-store = [\"/lab/images\"]\\n' > /etc/barista/host.toml")
    started = server.run(START, 180)
    lab.proves("what init says to type starts both services", started.rc == 0, f"{started.out}{started.err}{said(server)}")
    up(server, 60)
    clone = Clone(lab.work / "site", server, REPOSITORY)
    clone.commit(Site(machines=(PC01,)).files(), "A café with one seat")
    status, words = clone.push()
    lab.proves("a push is taken", status == 0, words)
    cafe = Cafe(server, Site(machines=(PC01,)))
    try:
        wait_for(lambda: cafe.targets("pc01", "alpha"), 180, "the agent makes the disk within its unit's bounds", 1)
        wait_for(lambda: "pc01" in server.run(f"cat {STATE}/boot/table.json").out, 60, "the machine is published", 1)
    except Exception as error:
        raise type(error)(f"{error}\n{said(server)}") from None
    nodes = server.run("test -L /dev/cafe/img.alpha.1 || ls -l /dev/cafe/; udevadm info -q property -n /dev/mapper/cafe-pool* | head -3")
    lab.proves("LVM's nodes are udev's", "DM_" in nodes.out or nodes.rc == 0, nodes.out + nodes.err)
    boots(lab, server, "a machine boots from it")

    pid = value(server, "barista-serve", "MainPID")
    owner = server.must(f"ps -o user= -p {pid}; grep CapEff /proc/{pid}/status").split()
    # CAP_NET_BIND_SERVICE is bit 10, CAP_NET_RAW bit 13.
    lab.proves("serve is its own user with its two capabilities", owner[0] == "barista" and int(owner[2], 16) == 1 << 10 | 1 << 13, owner)
    troubles = cafe.status()["troubles"]
    lab.proves("the agent has no trouble within its bounds", troubles == [], troubles)

    before = {unit: value(server, unit, "MainPID") for unit in UNITS}
    server.must(f"kill -9 {' '.join(before.values())}")
    wait_for(lambda: all(value(server, unit, "MainPID") not in ("0", before[unit]) for unit in UNITS), 60, "both are started anew", 1)
    up(server, 60)
    lab.proves("both come back after kill -9", True)
    server.must("mkdir -p /run/systemd/system/barista-serve.service.d && printf '[Service]\\nWatchdogSec=4\\n' > "
                "/run/systemd/system/barista-serve.service.d/soon.conf && systemctl daemon-reload && systemctl restart barista-serve")
    hung = value(server, "barista-serve", "MainPID")
    time.sleep(6)
    lab.proves("a service that goes on is left alone by its watchdog", value(server, "barista-serve", "MainPID") == hung, said(server))
    server.must(f"kill -STOP {hung}")
    wait_for(lambda: value(server, "barista-serve", "MainPID") not in ("0", hung), 60, f"a hung one is started anew\n{said(server)}", 1)
    up(server, 60)
    lab.proves("one that hangs is started anew", True)

    server.kill()
    server.start()
    up(server, 120)
    wait_for(lambda: cafe.targets("pc01", "alpha"), 120, f"the targets come back\n{said(server)}", 1)
    boots(lab, server, "after a power cut the room comes back by itself, and the machine boots")
    server.must("systemctl enable --now rtslib-fb-targetctl")
    warned = server.run("barista doctor --offline")
    server.must("systemctl mask rtslib-fb-targetctl && systemctl stop rtslib-fb-targetctl")
    lab.proves("doctor warns of a service that clears all targets, and its mend keeps them",
               "systemctl mask rtslib-fb-targetctl" in warned.out
               and "mask" not in server.run("barista doctor --offline").out and cafe.targets("pc01", "alpha"), f"{warned.out}{warned.err}")
    stopped = server.run(f"systemctl stop {' '.join(UNITS)}", 120)
    results = [value(server, unit, "Result") for unit in UNITS]
    left = server.must(f"ls {TARGETS}/iscsi | grep -c {PREFIX} || true").strip()
    lab.proves("both end in peace, and the disks stay", stopped.rc == 0 and results == ["success"] * 2 and left != "0", (results, left))

"""Two machines, two firmwares, one café: from a directory of TOML to Linux roots on iSCSI."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from labkit.cafe import STATE, TARGETS, Cafe
from labkit.lab import Lab
from labkit.site import ALPHA, PREFIX, Image, Machine, Site

PROVES = "barista alone brings a BIOS and a UEFI machine at once to a root of their own, each with its secret, and nothing else is written"
WITH_GAMES = Image("alpha", ALPHA.versions, ALPHA.current, data_disks=["games"])
GAMES = Image("games", {"1": "beta.qcow2"}, "1", role="data")
PC01, PC02, PC03 = Machine("pc01", 1, ["alpha"], chap=True), Machine("pc02", 2, ["alpha"], chap=True), Machine("pc03", 3, ["alpha"])
MACHINES = {"pc01": PC01, "pc02": PC02}
SECRETS = "/etc/barista/chap.toml"


def router_search(events: list[dict[str, Any]]) -> float:
    """Seconds between the last word of DHCP to an iPXE and its first script."""
    script = next(number for number, event in enumerate(events) if event["kind"]["is"] == "first-script")
    told = next(event for event in reversed(events[:script]) if event["kind"].get("asker") == "ipxe")
    at, until = (datetime.fromisoformat(event["at"][:19]) for event in (told, events[script]))
    return (until - at).total_seconds()


def run(lab: Lab) -> None:
    """Commits, serves without root, boots both, and looks at every volume afterwards."""
    server = lab.server(ports=2)
    server.must(f"umask 077 && cat >{SECRETS}", stdin=b'[pc01]\nsecret = "correcthorse1"\n[pc02]\nuser = "two"\nsecret = "batterystaple2"\n')
    server.must(f"mkdir -p {STATE}/serve && chown 65534:65534 {STATE}/serve")
    cafe = Cafe(server, Site(machines=(PC01, PC02, PC03), images=(WITH_GAMES, GAMES), chap_secrets=SECRETS))
    agent = cafe.follow()
    lab.proves("the agent makes the pool, the image and three seats",
               {"pool", "img.alpha.1", *(f"seat.pc0{number}.{image}.a" for number in (1, 2, 3) for image in ("alpha", "games"))} <= set(cafe.volumes()))
    lab.proves("no disk lets anybody in before a boot is given it", not any(cafe.on(name, "alpha") for name in ("pc01", "pc02", "pc03")))
    base, idle = cafe.sum_of("img.alpha.1"), cafe.sum_of("seat.pc03.alpha.a")
    lab.proves("the image volume holds the source, byte for byte",
               base == server.must("md5sum /lab/images/alpha.raw").split()[0])
    lab.proves("a fresh seat is the image", idle == base)

    asks = server.must(f"cat {TARGETS}/iscsi/{PREFIX}:pc0?.alpha.a-*/tpgt_1/attrib/authentication").split()
    lab.proves("two machines must prove themselves, the third not", asks == ["1", "1", "0"], str(asks))
    lab.proves("neither plan nor table holds a secret", server.run(f"grep -r -e correcthorse -e batterystaple {STATE} --include=table.json").rc == 1
               and "correcthorse" not in agent.output())

    serving = cafe.serve()
    identity = server.must(f"cat /proc/$(cat {serving.base}.pid)/status")
    lab.proves("serve runs without root", "Uid:\t65534\t65534" in identity, identity)
    clients = {"pc01": lab.client("pc01", server.ports[0], "bios-ipxe-rom", PC01.mac),
               "pc02": lab.client("pc02", server.ports[1], "uefi-pxe", PC02.mac)}
    for name, client in clients.items():
        said = client.wait_said("LAB: root on iSCSI", 240)
        lab.proves(f"{name} reached a Linux root on its own LUN",
                   "image=alpha" in said and f"serial={cafe.serial(name, 'alpha')}" in said and "boots=1" in said, said)
        told = server.must(f"barista explain {name} --state {STATE}")
        lab.proves(f"explain tells that {name} has booted and who is logged in",
                   "an operating system is logged in from" in told and "=> it booted" in told, told)
        lab.proves(f"{name} has its data disk beside it, and found both by one target", "disks=2" in said, said)
        lab.proves(f"{name}'s firmware had both as drives", all(f"Registered SAN device {drive}" in client.console() for drive in ("0x80", "0x81")))
        searched = router_search(cafe.transcript(MACHINES[name].mac))
        lab.proves(f"{name}'s iPXE does not wait for an IPv6 router", searched < 8, f"{searched:.1f} s from its address to its script")
        seconds = client.wait_off(60)
        lab.note(f"{name}: {seconds:.0f} s from power-on to power-off")
    for name in clients:
        given = cafe.targets(name, "alpha")["a"]
        lab.proves(f"the disk of {name} was given to its boot, and that is written down",
                   any(given in event["what"] for event in cafe.transcript(MACHINES[name].mac))
                   and f"machine={name}" in agent.output() and given in agent.output(), agent.output()[-2000:])
        lab.proves(f"what {name} wrote is on its volume", cafe.read_file(f"seat.{name}.alpha.a", "boots").strip() == "1")
        spare = cafe.wait_spare(name, "alpha")
        lab.proves(f"{name} has another disk for its next boot, which is the image and lets nobody in yet",
                   spare == "b" and cafe.sum_of(f"seat.{name}.alpha.b") == base and cafe.on(name, "alpha").keys() == {"a"}, cafe.targets(name, "alpha"))
    lab.proves("the image volume is untouched", cafe.sum_of("img.alpha.1") == base)
    lab.proves("the seat that was off is untouched", cafe.sum_of("seat.pc03.alpha.a") == idle and cafe.sides("pc03", "alpha").keys() == {"a"})
    lab.proves("no log holds a secret", "correcthorse" not in serving.output())
    lab.proves("serve still runs", serving.status() is None, serving.output()[-2000:])

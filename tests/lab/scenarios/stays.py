"""Somebody works while the server restarts and the network goes away."""

from __future__ import annotations

import re
import time

from labkit.cafe import Cafe
from labkit.lab import Lab
from labkit.qemu import Qemu, wait_for
from labkit.site import Machine, Site

PROVES = "a machine at work notices a power cut of the server and a minute without network as a pause: the same disk, and its writes go on"
PC01 = Machine("pc01", 1, ["alpha"])
OUTAGE = 60.0


def ticks(client: Qemu) -> int:
    """How often its system has written so far."""
    return max((int(found) for found in re.findall(r"LAB: tick (\d+)", client.console())), default=0)


def run(lab: Lab) -> None:
    """Cuts the server's power, and then the wire."""
    server = lab.server(ports=1, cache="writethrough")
    cafe = Cafe(server, Site(machines=(PC01,)))
    cafe.follow()
    cafe.serve()
    client = lab.client("pc01", server.ports[0], "bios-ipxe-rom", PC01.mac, mode="stay")
    client.wait_said("LAB: tick 3", 300)
    spare = cafe.wait_spare("pc01", "alpha")
    given, uuid = cafe.on("pc01", "alpha"), cafe.sides("pc01", "alpha")["a"]["lv_uuid"]
    lab.proves("the machine works on side a, and b waits for its next boot", given.keys() == {"a"} and spare == "b", given)

    server.kill()
    before = ticks(client)
    started = time.monotonic()
    server.start()
    # What starts with a server: its agent and its serving half.
    cafe.resume()
    wait_for(lambda: ticks(client) > before + 3, 240, f"the machine writes on after the server's power cut:\n{cafe.agent.output()[-2000:]}")
    lab.proves("after a power cut of the server the machine's writes go on", ticks(client) > before)
    lab.note(f"{time.monotonic() - started:.0f} s from the server's power-on to the next writes")
    lab.proves("on the same disk, by the same target", cafe.on("pc01", "alpha") == given and cafe.sides("pc01", "alpha")["a"]["lv_uuid"] == uuid)

    cafe.settled()
    server.must("ip link set eth0 down")
    before, since = ticks(client), time.monotonic()
    time.sleep(OUTAGE)
    server.must("ip link set eth0 up")
    lost = ticks(client) - before
    wait_for(lambda: ticks(client) > before + lost + 3, 120, "the machine writes on after the outage")
    lab.proves(f"after {OUTAGE:.0f} s without network the machine's writes go on", lost < OUTAGE / 2, f"{lost} writes in it")
    lab.note(f"{time.monotonic() - since - OUTAGE:.0f} s from the end of the outage to the next writes")
    lab.proves("its disk was given to nobody else and not taken away",
               cafe.on("pc01", "alpha") == given and cafe.sides("pc01", "alpha")["a"]["lv_uuid"] == uuid)
    said = client.console()
    lab.proves("it saw no error of its disk", "I/O error" not in said and "remount" not in said.lower(), said[-2000:])
    client.type("stop\n")
    client.wait_off(60)
    last = ticks(client)
    lab.proves("and its last write is on that disk", int(cafe.read_file("seat.pc01.alpha.a", "tick")) >= last, f"{last} ticks")

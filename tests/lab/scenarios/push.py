"""git push changes the café: over ssh, with the plan in the pusher's terminal."""

from __future__ import annotations

from labkit.cafe import REPOSITORY, STATE, UNPRIVILEGED, Cafe
from labkit.lab import Lab
from labkit.operator import Clone
from labkit.qemu import wait_for
from labkit.site import ALPHA, BETA, Machine, Site

PROVES = "a git push over ssh shows its plan, is applied by the agent, and a client boots what it says; a bad one is refused"
PC01 = Machine("pc01", 1, ["alpha"])


def run(lab: Lab) -> None:
    """Pushes three commits: a café, a change of one seat, a mistake."""
    server = lab.server(ports=1)
    made = server.run(f"barista init {REPOSITORY}", 60)
    lab.proves("barista init makes a bare repository with hooks", made.rc == 0 and
               server.run(f"test -x {REPOSITORY}/hooks/pre-receive && git -C {REPOSITORY} rev-parse --is-bare-repository").rc == 0, made.err)
    server.must(f"mkdir -p {STATE}/serve && chown -R 65534:65534 {STATE}/serve")
    agent = server.spawn(f"barista agent --repo {REPOSITORY} --state {STATE}")
    cafe = Cafe(server, Site())
    clone = Clone(lab.work / "site", server, REPOSITORY)
    site = Site(machines=(PC01,), images=(ALPHA, BETA))
    clone.commit(site.files(), "A café with one seat")
    status, said = clone.push()
    lab.proves("the pusher's terminal shows the plan", status == 0 and "Plan" in said and "pc01" in said and "alpha" in said, said)
    wait_for(lambda: cafe.targets("pc01", "alpha"), 120, f"the agent applies the push:\n{agent.output()[-1500:]}")

    clone.commit(site.with_(machines=(Machine("pc01", 1, ["beta"]),), may_destroy=("pc01.alpha",)).files(), "pc01 boots beta")
    status, said = clone.push()
    lab.proves("a second push shows what it changes", status == 0 and "beta" in said, said)
    wait_for(lambda: cafe.targets("pc01", "beta"), 120, f"the agent applies the second push:\n{agent.output()[-1500:]}")
    lab.proves("the seat that nobody used is gone", not cafe.sides("pc01", "alpha") and not cafe.targets("pc01", "alpha"), cafe.volumes())
    serving = server.spawn(f"{UNPRIVILEGED} /usr/local/bin/barista serve --state {STATE}")
    wait_for(lambda: "target:beta" in server.run(f"cat {STATE}/boot/table.json").out, 60, "the boot table names beta")
    cafe.wait_served(serving)
    client = lab.client("pc01", server.ports[0], "bios-ipxe-rom", PC01.mac)
    lab.proves("the client boots what was pushed", "image=beta" in client.wait_said("LAB: root on iSCSI", 240))
    client.wait_off(60)

    cafe.write(site.with_(machines=(Machine("pc01", 1, ["beta"]),), may_destroy=("pc01.alpha",)))
    cafe.still()
    before, head = cafe.dump(), server.must(f"git -C {REPOSITORY} rev-parse main")
    bad = dict(site.files())
    bad["machines/room.toml"] = bad["machines/room.toml"].replace('"alpha"', '"alhpa"')
    clone.commit(bad, "A slip")
    status, said = clone.push()
    lab.proves("a push with an error is refused with file and line",
               status != 0 and "machines/room.toml:" in said and any(f"machines/room.toml:{n}" in said for n in range(1, 9)), said)
    lab.proves("the repository did not move", server.must(f"git -C {REPOSITORY} rev-parse main") == head)
    lab.same("the host did not change", before, cafe.dump())
    lab.proves("the agent still runs", agent.status() is None, agent.output()[-2000:])

"""Firmware that is no x64 PC's, and loaders that are not iPXE: each is given its own file, and what it then asks for."""

from __future__ import annotations

import re
from pathlib import Path

from labkit.cafe import Cafe
from labkit.debian import firmware
from labkit.lab import Lab
from labkit.paths import sh
from labkit.programs import ARM64, IA32, uboot_script, uefi
from labkit.qemu import Qemu, wait_for
from labkit.server import ADDRESS, Server
from labkit.site import Machine, Site

PROVES = "a shim with Secure Boot on, 32-bit and ARM64 UEFI, U-Boot, PXELINUX and GRUB each run what is theirs, all at once; without a loader the reason is said"
LOADERS = "/srv/loaders"
OVER_HTTP = "LAB: a file that GRUB read over HTTP"
OWN = "own"
"""Nothing of these machines is on a disk of ours."""
CLIENTS = {
    "pc01": ("uefi-secure", "shimx64.efi", "LAB: GRUB reads its configuration"),
    "pc02": ("uefi-ia32", "", "LAB: a program of 32 bit"),
    "pc03": ("arm64-pxe", "", "LAB: a program for ARM64"),
    "pc04": ("arm64-http", "", "LAB: a program for ARM64"),
    "pc05": ("u-boot", "", "LAB: a program for ARM64"),
    "pc06": ("bios-pxe", "pxelinux.0", "LAB: PXELINUX reads its configuration"),
    "pc07": ("uefi-secure", "ipxe.efi", "Access Denied"),
    "pc08": ("uefi-pxe", "grub-http.efi", OVER_HTTP),
}
"""Firmware, the loader its machine names, and what its console says in the end."""
MACHINES = {name: Machine(name, number, [OWN], loader=loader) for number, (name, (_, loader, _)) in enumerate(CLIENTS.items(), 1)}
ASKED = {
    "pc01": ("fetched shimx64.efi", "asked for \"revocations", "fetched grubx64.efi", "fetched /grub/grub.cfg"),
    "pc02": ("DISCOVER from x86 UEFI", "fetched ipxe-i386.efi"),
    "pc03": ("DISCOVER from ARM 64-bit UEFI (PXEClient)", "fetched ipxe-arm64.efi"),
    "pc04": ("DISCOVER from ARM 64-bit UEFI boot from HTTP", "asked for ipxe-arm64.efi"),
    "pc05": ("DISCOVER from U-Boot", "fetched boot.scr.uimg", "fetched pxelinux.cfg/01-52-54-00-77-00-05", "fetched ipxe-arm64.efi"),
    "pc06": ("fetched pxelinux.0", "asked for \"pxelinux.cfg/01-52-54-00-77-00-06\"", "fetched pxelinux.cfg/C0A84D1"),
    "pc07": ("fetched ipxe.efi",),
    "pc08": ("fetched grub-http.efi", "fetched /grub/grub.cfg", "asked for over-http.txt"),
}
"""What the transcript has of each, in this order."""


def run(lab: Lab) -> None:
    """All of them at once, and then ARM64 without its loader."""
    server = lab.server(ports=len(CLIENTS))
    put_loaders(server, lab.work)
    cafe = Cafe(server, Site(machines=tuple(MACHINES.values()), images=(), loaders=LOADERS,
                             extra={f"images/{OWN}.toml": 'kind = "local"\n'}))
    cafe.apply()
    serving = cafe.serve()
    clients = {name: lab.client(name, server.ports[number], firmware, MACHINES[name].mac)
               for number, (name, (firmware, _, _)) in enumerate(CLIENTS.items())}
    for name, client in clients.items():
        wait_for(lambda: CLIENTS[name][2] in text_of(client), 150, f"{name} shows {CLIENTS[name][2]!r}")
    for name, client in clients.items():
        wait_for(lambda: in_order(ASKED[name], cafe.transcript(MACHINES[name].mac)), 30, f"the transcript of {name} has {ASKED[name]}")
        lab.proves(f"{name}, {CLIENTS[name][0]}: {CLIENTS[name][2]!r}, from what it was told and asked for")
        client.kill()
    lab.proves("U-Boot ran the script it asked for by itself", "LAB: a script of U-Boot" in clients["pc05"].console())
    lab.proves("Secure Boot was on: the unsigned loader of pc07 never ran", "iPXE" not in clients["pc07"].console())

    server.must(f"rm {LOADERS}/ipxe-arm64.efi")
    reason = "nothing to boot: ipxe-arm64.efi is not among the loaders"
    lab.client("pc03-without", server.ports[2], "arm64-pxe", MACHINES["pc03"].mac)
    wait_for(lambda: reason in cafe.transcript(MACHINES["pc03"].mac)[-1]["what"], 90, "ARM64 is told nothing, with the reason")
    lab.proves("without a loader ARM64 has an address and nothing to boot, and the transcript says why")
    lab.proves("serve still runs", serving.status() is None, serving.output()[-2000:])


def text_of(client: Qemu) -> str:
    """Its console without what moves the cursor: SeaBIOS puts that into the middle of words."""
    return re.sub(r"\x1b\[[0-9;?=]*[A-Za-z]", "", client.console())


def in_order(wanted: tuple[str, ...], told: list[dict[str, str]]) -> bool:
    """Whether each of the words stands in an event after the one of the words before."""
    events = iter(told)
    return all(any(words in event["what"] for event in events) for words in wanted)


def put_loaders(server: Server, work: Path) -> None:
    """What an operator would have put there."""
    files, modules = firmware(), Path("/usr/lib/syslinux/modules/bios")
    over_http = f"cat (http,{ADDRESS}:8080)/loaders/over-http.txt"
    say = f"serial --unit=0\nterminal_output serial\n{over_http}\necho '{CLIENTS['pc01'][2]}'\nsleep 600\n"
    # The signed GRUB has no HTTP, and loads no module.
    grub = work / "grub-http.efi"
    sh("grub-mkimage", "-O", "x86_64-efi", "-o", grub, "-p", "/grub", "normal", "net", "efinet", "tftp", "http", "echo", "cat", "sleep",
       "configfile", "serial", "terminal")
    for name, data in {
        "shimx64.efi": (files / "usr/lib/shim/shimx64.efi.signed").read_bytes(),
        "grubx64.efi": (files / "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed").read_bytes(),
        "grub/grub.cfg": say.encode(),
        "grub-http.efi": grub.read_bytes(),
        "over-http.txt": OVER_HTTP.encode() + b"\n",
        "ipxe-i386.efi": uefi(IA32, CLIENTS["pc02"][2]),
        "ipxe-arm64.efi": uefi(ARM64, CLIENTS["pc03"][2]),
        "boot.scr.uimg": uboot_script("echo LAB: a script of U-Boot\npxe get\n"),
        "pxelinux.0": (files / "usr/lib/PXELINUX/pxelinux.0").read_bytes(),
        "ldlinux.c32": (modules / "ldlinux.c32").read_bytes(),
        "pxelinux.cfg/01-52-54-00-77-00-05": b"MENU TITLE U-Boot\n",
        "pxelinux.cfg/C0A84D1": f"SAY {CLIENTS['pc06'][2]}\nPROMPT 1\n".encode(),
    }.items():
        server.put(f"{LOADERS}/{name}", data)
    server.must(f"cp /usr/lib/ipxe/ipxe.efi {LOADERS}/ && chmod -R a+rX {LOADERS}")

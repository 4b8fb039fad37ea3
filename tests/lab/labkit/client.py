"""Diskless client VMs: the firmware variants a café meets.

It must never give a client a disk of its own: all it has is a network card.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from .filter import PlainPxe
from .qemu import Qemu, free_port
from .server import Port

OVMF = Path("/usr/share/OVMF")
FIRMWARES = {
    "bios-ipxe-rom": "SeaBIOS and the card's iPXE ROM",
    "uefi-ipxe": "OVMF and the card's iPXE driver",
    "uefi-pxe": "OVMF and its own PXE",
    "uefi-http": "OVMF and its own HTTP Boot",
    "bios-pxe": "SeaBIOS and a PXE ROM that is not iPXE, as the server sees it",
}


def start_client(work: Path, log: Path, port: Port, firmware: str, mac: str, mode: str = "off") -> Qemu:
    """Powers a client on. `mode` is `off` (boot, write, power off) or `stay` (write each second until told to stop)."""
    if firmware not in FIRMWARES:
        raise ValueError(f"no firmware {firmware}")
    far = port.server
    if firmware == "bios-pxe":
        middle = PlainPxe(near=free_port(socket.SOCK_DGRAM), client=free_port(socket.SOCK_DGRAM), port=port)
        netdev = port.netdev("lan", middle.client, middle.near)
    else:
        netdev = port.netdev("lan", port.client, far)
    name = log.stem
    arguments = ["-machine", "q35", "-cpu", "max,la57=off", "-smp", "1", "-m", "512", "-device", "virtio-rng-pci",
                 "-smbios", f"type=3,asset={mode}", "-boot", "strict=on", "-netdev", netdev]
    card = f"virtio-net-pci,netdev=lan,mac={mac},bootindex=0"
    if firmware.startswith("uefi"):
        variables = work / f"{name}.vars"
        shutil.copy(OVMF / "OVMF_VARS_4M.fd", variables)
        arguments += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd",
                      "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]
        if firmware != "uefi-ipxe":
            card += ",romfile="
        if firmware == "uefi-http":
            arguments += ["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"]
    return Qemu(name, [*arguments, "-device", card], log, work)

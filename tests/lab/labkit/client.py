"""Diskless client VMs: the firmware variants a café meets.

It must never give a client a disk of its own: all it has is a network card.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from .debian import firmware as unpacked
from .filter import BadWire, PlainPxe
from .qemu import Qemu, free_port
from .server import Port

OVMF = Path("/usr/share/OVMF")
FIRMWARES = {
    "bios-ipxe-rom": "SeaBIOS and the card's iPXE ROM",
    "uefi-ipxe": "OVMF and the card's iPXE driver",
    "uefi-pxe": "OVMF and its own PXE",
    "uefi-http": "OVMF and its own HTTP Boot",
    "bios-pxe": "SeaBIOS and a PXE ROM that is not iPXE, as the server sees it",
    "uefi-pxe-bad-wire": "OVMF and its own PXE, on a wire that loses, doubles and displaces blocks",
    "uefi-secure": "OVMF and its own PXE, with Secure Boot on and the keys every PC comes with",
    "uefi-ia32": "OVMF of 32 bit and its own PXE",
    "arm64-pxe": "UEFI for ARM64 and its own PXE",
    "arm64-http": "UEFI for ARM64 and its own HTTP Boot",
    "u-boot": "U-Boot for ARM64",
}
HTTP_ONLY = ["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"]
SECURE = ["-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"]
"""The variables are written by System Management Mode alone, as a firmware that enforces signatures wants it."""


def flash(code: Path, variables: Path, own: Path) -> list[str]:
    """Firmware in two flash chips, the second one the machine's own."""
    shutil.copy(variables, own)
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}", "-drive", f"if=pflash,unit=1,format=raw,file={own}"]


def start_client(work: Path, log: Path, port: Port, firmware: str, mac: str, mode: str = "off") -> Qemu:
    """Powers a client on. `mode` is `off` (boot, write, power off) or `stay` (write each second until told to stop)."""
    if firmware not in FIRMWARES:
        raise ValueError(f"no firmware {firmware}")
    far = port.server
    middle = None
    if firmware in ("bios-pxe", "uefi-pxe-bad-wire"):
        kind = PlainPxe if firmware == "bios-pxe" else BadWire
        middle = kind(near=free_port(socket.SOCK_DGRAM), client=free_port(socket.SOCK_DGRAM), port=port)
        netdev = port.netdev("lan", middle.client, middle.near)
    else:
        netdev = port.netdev("lan", port.client, far)
    name = log.stem
    own = work / f"{name}.vars"
    card = f"virtio-net-pci,netdev=lan,mac={mac},bootindex=0"
    if firmware.startswith(("arm64", "u-boot")):
        arguments = ["-machine", "virt", "-cpu", "cortex-a57", "-m", "512", "-netdev", netdev, "-device", "virtio-rng-pci"]
        if firmware == "u-boot":
            # It reads every octet of the address of an older virtio card as the first.
            arguments += ["-bios", str(unpacked() / "usr/lib/u-boot/qemu_arm64/u-boot.bin"),
                          "-device", f"virtio-net-pci,netdev=lan,mac={mac},romfile=,disable-legacy=on"]
        else:
            files = unpacked() / "usr/share/AAVMF"
            arguments += ["-boot", "strict=on", *flash(files / "AAVMF_CODE.fd", files / "AAVMF_VARS.fd", own), "-device", f"{card},romfile="]
        return Qemu(name, arguments + (HTTP_ONLY if firmware == "arm64-http" else []), log, work, "qemu-system-aarch64")
    machine = "q35,smm=on" if firmware in ("uefi-secure", "uefi-ia32") else "q35"
    arguments = ["-machine", machine, "-cpu", "max,la57=off", "-smp", "1", "-m", "512", "-device", "virtio-rng-pci",
                 "-smbios", f"type=3,asset={mode}", "-boot", "strict=on", "-netdev", netdev]
    if firmware == "uefi-secure":
        arguments += [*flash(OVMF / "OVMF_CODE_4M.secboot.fd", OVMF / "OVMF_VARS_4M.ms.fd", own), *SECURE]
    elif firmware == "uefi-ia32":
        files = unpacked() / "usr/share/OVMF"
        arguments += [*flash(files / "OVMF32_CODE_4M.secboot.fd", files / "OVMF32_VARS_4M.fd", own), *SECURE]
    elif firmware.startswith("uefi"):
        arguments += flash(OVMF / "OVMF_CODE_4M.fd", OVMF / "OVMF_VARS_4M.fd", own)
    if firmware == "uefi-http":
        arguments += HTTP_ONLY
    if firmware.startswith("uefi") and firmware != "uefi-ipxe":
        card += ",romfile="
    client = Qemu(name, [*arguments, "-device", card], log, work)
    client.middle = middle
    return client

"""The smallest programs that say on the console that they run: a UEFI one for each architecture, and a script for U-Boot.

Debian has no loader for ARM64 among amd64's packages, and no signed one that is small. It must never do more than speak.
"""

from __future__ import annotations

import struct
import zlib

ARM64, IA32 = 0xAA64, 0x014C
SECTION, FILE = 0x1000, 0x200
DIRECTORIES = 6
"""Up to the one of relocations, of which there are none."""
CODE = {
    # stp x29,x30,[sp,#-16]!; ldr x0,[x1,#64] (ConOut); ldr x2,[x0,#8] (OutputString); adr x1,text; blr x2; mov x0,#0;
    # ldp x29,x30,[sp],#16; ret
    ARM64: struct.pack("<8I", 0xA9BF7BFD, 0xF9402020, 0xF9400402, 0x100000A1, 0xD63F0040, 0xD2800000, 0xA8C17BFD, 0xD65F03C0),
    # mov eax,[esp+8]; mov eax,[eax+44] (ConOut); call .+5; pop edx; add edx,16; push edx; push eax; call [eax+4] (OutputString);
    # add esp,8; xor eax,eax; ret; nop
    IA32: bytes.fromhex("8b442408 8b402c e800000000 5a 83c210 52 50 ff5004 83c408 31c0 c3 90"),
}


def uefi(machine: int, text: str) -> bytes:
    """A UEFI program that prints the text on a line of its own: PE headers and one section (UEFI 2.10 §2.1.1, §12.4)."""
    body = CODE[machine] + f"\r\n{text}\r\n\0".encode("utf-16-le")
    body += bytes(-len(body) % FILE)
    is_wide = machine != IA32
    pointers, flags = ("<4Q", 0x0022) if is_wide else ("<4I", 0x0102)
    optional = b"".join((
        struct.pack("<HH5I", 0x20B if is_wide else 0x10B, 0, len(body), 0, 0, SECTION, SECTION),
        # Where it is loaded: anywhere. With 32 bits the first half is where data begins.
        bytes(8),
        struct.pack("<II6H4IHH", SECTION, FILE, *[0] * 6, 0, 2 * SECTION, FILE, 0, 10, 0),
        struct.pack(pointers, *[0] * 4),
        struct.pack("<II", 0, DIRECTORIES) + bytes(8 * DIRECTORIES),
    ))
    section = struct.pack("<8s6IHHI", b".text", len(body), SECTION, len(body), FILE, 0, 0, 0, 0, 0x6000_0020)
    headers = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, len(optional), flags)
    return (headers + optional + section).ljust(FILE, b"\0") + body


def uboot_script(commands: str) -> bytes:
    """A script as U-Boot's `source` takes it: its old image header, the script's length, an end of lengths, the script."""
    body = commands.encode()
    data = struct.pack(">II", len(body), 0) + body

    def header(checksum: int) -> bytes:
        # magic, header's CRC, time, size, load, entry, data's CRC, then: Linux, ARM64, script, not compressed, name
        return struct.pack(">7I4B32s", 0x27051956, checksum, 0, len(data), 0, 0, zlib.crc32(data), 5, 22, 6, 0, b"lab")

    return header(zlib.crc32(header(0))) + data

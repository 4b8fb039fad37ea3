"""Builds the disks: the server's root, both initramfs, and the client images.

It must never mount anything or need root on the host: mke2fs -d, mtools, syslinux and grub-mkstandalone write into files.
"""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

from .debian import Kernel, in_tree, kernel, libraries, module_bytes, server_tree
from .paths import LAB, cached, key_of, sh

GUEST = LAB / "guest"
MIB = 1 << 20
SERVER_BOOT = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console")
CLIENT_BOOT = ("virtio_pci", "virtio_net", "iscsi_tcp", "iscsi_ibft", "sd_mod")
FAT_MIB, ROOT_MIB = 26, 20
SIZE_MIB = 48
"""A client image: one MiB of MBR, a FAT partition, a root partition, one MiB to spare."""


def initramfs(into: Path, system: Kernel, tree: Path, modules: tuple[str, ...], programs: tuple[str, ...], server: str) -> None:
    """Writes a compressed initramfs: busybox, modules in insmod order, programs with their libraries."""
    root = into.with_suffix(".d")
    (root / "bin").mkdir(parents=True)
    (root / "modules").mkdir()
    (root / "dev").mkdir()
    shutil.copy(tree / "bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    shutil.copy(GUEST / "initramfs", root / "init")
    (root / "init").chmod(0o755)
    if server:
        (root / "server").touch()
    order = system.closure(*modules)
    for path in order:
        (root / "modules" / path.name.removesuffix(".xz")).write_bytes(module_bytes(path))
    (root / "modules/order").write_text("".join(f"{p.name.removesuffix('.xz')}\n" for p in order))
    for program in programs:
        shutil.copy(tree / program, root / "bin" / Path(program).name)
        for library in libraries(tree, program):
            (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tree / library[1:], root / library[1:])
    names = "".join(f"{p.relative_to(root)}\n" for p in sorted(root.rglob("*")))
    archive = into.with_suffix(".cpio")
    sh("cpio", "-o", "-H", "newc", "-R", "0:0", "-D", root, "-F", archive, stdin=names.encode())
    into.write_bytes(gzip.compress(archive.read_bytes(), 6))
    archive.unlink()
    shutil.rmtree(root)


def server_disks() -> Path:
    """A directory with `root.ext4` and `initrd` of the server VM."""
    tree, system = server_tree(), kernel()

    def build(into: Path) -> None:
        initramfs(into / "initrd", system, tree, SERVER_BOOT, (), "server")
        staged = into / "staged"
        sh("cp", "-a", "--reflink=auto", tree, staged)
        sh("cp", "-a", system.root / "lib/modules", staged / "usr/lib/")
        (staged / "lab").mkdir()
        shutil.copy(GUEST / "server-init", staged / "lab/init")
        (staged / "lab/init").chmod(0o755)
        for name in ("agent.py", "cut.py"):
            shutil.copy(GUEST / name, staged / "lab" / name)
        (staged / "etc/lvm/lvmlocal.conf").write_text("activation { udev_sync=0 udev_rules=0 }\n")
        (staged / "etc/hosts").write_text("127.0.0.1 localhost cafe\n")
        shutil.rmtree(staged / "usr/share/doc", ignore_errors=True)
        shutil.rmtree(staged / "usr/share/man", ignore_errors=True)
        make_ext4(into / "root.ext4", staged, 700)
        shutil.rmtree(staged)

    recipe = (Path(__file__), GUEST / "initramfs", GUEST / "server-init", GUEST / "agent.py", GUEST / "cut.py")
    return cached("server", key_of(tree.name, system.root.name, *recipe), build)


def make_ext4(path: Path, contents: Path | None, mib: int, *options: str) -> Path:
    """A file with an ext4 file system in it, filled from a directory."""
    with path.open("wb") as file:
        file.truncate(mib * MIB)
    filling = ["-d", str(contents)] if contents else []
    sh("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", *options, *filling, path)
    return path


SYSLINUX = """SERIAL 0 115200
DEFAULT lab
LABEL lab
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0,115200 quiet panic=5 mitigations=off
"""
GRUB = """serial --unit=0 --speed=115200
terminal_output serial
set gfxpayload=text
search --no-floppy --set=root --file /vmlinuz
linux /vmlinuz console=ttyS0,115200 quiet panic=5 mitigations=off
initrd /initrd
boot
"""


def client_image(path: Path, name: str, system: Kernel, tree: Path, initrd: Path) -> None:
    """A disk that boots by BIOS and by UEFI, and whose system says `image=<name>`."""
    work = path.with_suffix(".d")
    root = work / "root"
    for directory in ("bin", "sbin", "dev", "proc", "run", "sys"):
        (root / directory).mkdir(parents=True)
    shutil.copy(tree / "bin/busybox", root / "bin/busybox")
    for applet in ("sh", "ls"):
        (root / "bin" / applet).symlink_to("busybox")
    shutil.copy(GUEST / "client-init", root / "sbin/init")
    (root / "sbin/init").chmod(0o755)
    (root / "name").write_text(name)
    ext4 = make_ext4(work / "root.ext4", root, ROOT_MIB, "-O", "^metadata_csum,^64bit")
    fat = work / "boot.fat"
    with fat.open("wb") as file:
        file.truncate(FAT_MIB * MIB)
    # 2048 hidden sectors: syslinux reads its own file system by absolute disk addresses.
    sh("mkfs.vfat", "-n", "LABBOOT", "-h", "2048", "--invariant", fat)
    (work / "grub.cfg").write_text(GRUB)
    sh("grub-mkstandalone", "-O", "x86_64-efi", "-o", work / "BOOTX64.EFI", "--modules=part_msdos fat linux serial search",
       "--install-modules=part_msdos fat linux serial search search_fs_file normal terminal echo boot", "--locales=", "--themes=",
       "--fonts=", f"boot/grub/grub.cfg={work / 'grub.cfg'}")
    (work / "syslinux.cfg").write_text(SYSLINUX)
    for source, target in ((system.vmlinuz, "vmlinuz"), (initrd, "initrd"), (work / "syslinux.cfg", "syslinux.cfg")):
        sh("mcopy", "-i", fat, source, f"::{target}")
    sh("mmd", "-i", fat, "::EFI", "::EFI/BOOT")
    sh("mcopy", "-i", fat, work / "BOOTX64.EFI", "::EFI/BOOT/BOOTX64.EFI")
    sh("syslinux", "--install", fat)
    with path.open("wb") as disk:
        disk.truncate(SIZE_MIB * MIB)
        disk.write(Path("/usr/lib/syslinux/mbr/mbr.bin").read_bytes()[:440])
        disk.seek(446)
        disk.write(partition(0x80, 0x0C, 2048, FAT_MIB * 2048))
        disk.write(partition(0, 0x83, 2048 + FAT_MIB * 2048, ROOT_MIB * 2048))
        disk.seek(510)
        disk.write(b"\x55\xaa")
        for offset, part in ((1, fat), (1 + FAT_MIB, ext4)):
            disk.seek(offset * MIB)
            copy_sparse(part, disk)
    shutil.rmtree(work)


def partition(active: int, kind: int, start: int, sectors: int) -> bytes:
    """One MBR entry; firmware of this century reads only the two LBA numbers."""
    return bytes([active, 0xFE, 0xFF, 0xFF, kind, 0xFE, 0xFF, 0xFF]) + start.to_bytes(4, "little") + sectors.to_bytes(4, "little")


def copy_sparse(source: Path, disk) -> None:  # type: ignore[no-untyped-def]
    """Copies a file into an open disk, leaving holes where it is zero."""
    with source.open("rb") as file:
        while block := file.read(65536):
            if block.strip(b"\0"):
                disk.write(block)
            else:
                disk.seek(len(block), 1)


def client_images() -> Path:
    """A directory with `images.ext4`, which holds alpha.raw, beta.raw and beta.qcow2."""
    tree, system = server_tree(), kernel()

    def build(into: Path) -> None:
        staged = into / "staged"
        staged.mkdir()
        initramfs(into / "initrd", system, tree, CLIENT_BOOT, ("usr/sbin/iscsistart", "usr/sbin/iscsid"), "")
        for name in ("alpha", "beta"):
            client_image(staged / f"{name}.raw", name, system, tree, into / "initrd")
        sh(*in_tree(tree, "usr/bin/qemu-img", "convert", "-c", "-O", "qcow2", staged / "beta.raw", staged / "beta.qcow2"))
        make_ext4(into / "images.ext4", staged, 3 * SIZE_MIB + 60, "-O", "^has_journal")
        shutil.rmtree(staged)

    recipe = (Path(__file__), GUEST / "initramfs", GUEST / "client-init")
    return cached("images", key_of(tree.name, system.root.name, *recipe), build)

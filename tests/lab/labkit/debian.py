"""Unpacks Debian packages: the server's root and the kernel both VMs run.

It must never run a maintainer script of what it unpacks, nor install on the host what tests/lab/packages does not name.
"""

from __future__ import annotations

import functools
import lzma
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .paths import LAB, WORK, cached, key_of, sh

KERNEL = "linux-image-cloud-amd64"
"""The cloud flavour has everything the lab needs as modules and boots in half the time of the full one."""


def wanted(name: str) -> list[str]:
    """The packages of a list file, without its comments."""
    lines = (LAB / name).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def install_missing() -> None:
    """Installs the host packages that are not there, and says which."""
    missing = []
    for package in wanted("packages"):
        state = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status}", package], capture_output=True, text=True, check=False)
        if state.stdout != "installed" and not shutil.which(package):
            missing.append(package)
    if missing:
        print(f"# installing {' '.join(missing)}", flush=True)
        subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends", *missing],
                       check=True, stdout=subprocess.DEVNULL)


def apt(*arguments: str, archives: str = "archives") -> str:
    """apt-get against an empty dpkg database, so that the closure does not depend on the host."""
    state = WORK / "apt"
    (state / archives / "partial").mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    return sh(
        "apt-get", "-o", f"Dir::State::status={state}/status", "-o", f"Dir::Cache::archives={state}/{archives}",
        "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root", "--no-install-recommends", "-y", *arguments,
    )


def kernel_package() -> str:
    """The versioned package behind the kernel's meta package."""
    found = re.search(r"Depends: (linux-image-\S+)", sh("apt-cache", "depends", KERNEL))
    if not found:
        raise RuntimeError(f"{KERNEL} is not known here: run apt-get update")
    return found[1]


def unpack(deb: Path, root: Path) -> None:
    """Unpacks through directory symlinks: `dpkg -x` would replace /lib -> usr/lib by a directory."""
    with subprocess.Popen(["dpkg", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as source:
        subprocess.run(["tar", "-x", "--keep-directory-symlink", "-C", str(root)], stdin=source.stdout, check=True)
        if source.wait() != 0:
            raise RuntimeError(f"{deb} cannot be unpacked")


def fetch(into: Path, *packages: str) -> None:
    """Fetches packages, without what they depend on, and unpacks them."""
    subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", *packages], cwd=into, check=True, stdout=subprocess.DEVNULL)
    for deb in sorted(into.glob("*.deb")):
        unpack(deb, into)
        deb.unlink()


def named(uris: str) -> list[str]:
    """The files that apt-get's `--print-uris` names."""
    return sorted(re.findall(r"^'\S+' (\S+\.deb) ", uris, re.MULTILINE))


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel: its image and its modules."""

    root: Path

    @property
    def vmlinuz(self) -> Path:
        return next(self.root.glob("boot/vmlinuz-*"))

    @property
    def modules(self) -> Path:
        return next((self.root / "lib/modules").iterdir())

    def closure(self, *names: str) -> list[Path]:
        """The files of these modules and of all they need, in an order insmod accepts."""
        needs: dict[str, list[str]] = {}
        for line in (self.modules / "modules.dep").read_text().splitlines():
            path, _, rest = line.partition(":")
            needs[path] = rest.split()
        by_name = {Path(p).name.split(".")[0].replace("-", "_"): p for p in needs}
        order: list[str] = []

        def add(path: str) -> None:
            for need in reversed(needs[path]):
                add(need)
            if path not in order:
                order.append(path)

        builtin = (self.modules / "modules.builtin").read_text().replace("-", "_")
        for name in names:
            if (found := by_name.get(name.replace("-", "_"))) is not None:
                add(found)
            elif f"/{name.replace('-', '_')}.ko" not in builtin:
                raise RuntimeError(f"the kernel has no module {name}")
        return [self.modules / path for path in order]


def module_bytes(path: Path) -> bytes:
    """A module as insmod wants it; newer Debian kernels ship them compressed."""
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


@functools.cache
def kernel() -> Kernel:
    """The kernel both VMs run."""
    package = kernel_package()
    version = sh("apt-cache", "show", package).split("Version: ")[1].split()[0]

    def build(into: Path) -> None:
        fetch(into, f"{package}={version}")
        sh("depmod", "-b", into, next((into / "lib/modules").iterdir()).name)

    return Kernel(cached("kernel", key_of(package, version), build))


@functools.cache
def firmware() -> Path:
    """What `packages.firmware` names, unpacked: firmware of other machines, and loaders an operator would bring."""
    names = wanted("packages.firmware")
    debs = named(sh("apt-get", "download", "--print-uris", *names))

    def build(into: Path) -> None:
        fetch(into, *names)

    return cached("firmware", key_of(*debs), build)


@functools.cache
def server_tree() -> Path:
    """The unpacked root of the server VM, as a directory."""
    # Listed against an archive that stays empty: what is downloaded already would not be named.
    uris = apt("--print-uris", "install", *wanted("packages.server"), archives="none")
    debs = named(uris)

    def build(into: Path) -> None:
        apt("--download-only", "install", *wanted("packages.server"))
        for name in ("bin", "sbin", "lib", "lib64"):
            (into / "usr" / name).mkdir(parents=True)
            (into / name).symlink_to(f"usr/{name}")
        for deb in debs:
            unpack(WORK / "apt/archives" / deb, into)
        for name in ("passwd", "group"):
            (into / "etc" / name).write_text((into / f"usr/share/base-passwd/{name}.master").read_text())
        for name, program in (("awk", "mawk"), ("sh", "dash")):
            (into / "usr/bin" / name).unlink(missing_ok=True)
            (into / "usr/bin" / name).symlink_to(program)
        compile_python(into)

    return cached("tree", key_of(*debs, Path(__file__)), build)


def in_tree(tree: Path, program: str, *arguments: str | Path) -> list[str]:
    """The command line that runs a program of the unpacked root with its own libraries, here on the host."""
    return [str(tree / "lib64/ld-linux-x86-64.so.2"), "--library-path", str(tree / "usr/lib/x86_64-linux-gnu"),
            str(tree / program), *map(str, arguments)]


def libraries(tree: Path, program: str) -> list[str]:
    """The shared libraries a program of the unpacked root needs, as paths inside it."""
    loader = in_tree(tree, program)
    listed = sh(*loader[:-1], "--list", loader[-1])
    return sorted({"/" + str(Path(p).relative_to(tree)) for p in re.findall(rf"({re.escape(str(tree))}/\S+)", listed)})


def compile_python(tree: Path) -> None:
    """Compiles Python's own modules once: under emulation it would cost every boot some seconds."""
    python = in_tree(tree, next(str(p.relative_to(tree)) for p in tree.glob("usr/bin/python3.*")))
    for part in sorted((tree / "usr/lib").glob("python3*")):
        sh(*python, "-m", "compileall", "-q", "-j2", "-s", tree, "-p", "/", "--invalidation-mode", "unchecked-hash",
           "-x", r"/(test|tests|idlelib|lib2to3|turtledemo)/", part,
           env={"PYTHONHOME": str(tree / "usr"), "LD_LIBRARY_PATH": ""})

"""Writes sites as an operator would: the files of a small café as text.

It must never depend on the machine it runs on: the same arguments give the same files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

PREFIX = "iqn.2026-11.example.lab"
NAME = "lab"


@dataclass(frozen=True)
class Image:
    """One disk image with its versions, each a file of the image store."""

    name: str
    versions: Mapping[str, str]
    current: str
    reset: str = "every-boot"
    size: str = "48MiB"
    role: str = "system"
    data_disks: Sequence[str] = ()

    def text(self) -> str:
        """The image's file."""
        role = 'role = "data"\n' if self.role == "data" else 'firmware = "any"\n'
        if self.data_disks:
            role += "data-disks = [" + ", ".join(f'"{disk}"' for disk in self.data_disks) + "]\n"
        head = f'kind = "disk"\n{role}size = "{self.size}"\nreset = "{self.reset}"\ncurrent = "{self.current}"\n'
        return head + "".join(f'[[version]]\nname = "{name}"\nsource = "{source}"\n' for name, source in self.versions.items())


@dataclass(frozen=True)
class Machine:
    """One machine; its number gives its MAC and its address."""

    name: str
    number: int
    boot: Sequence[str]
    chap: bool = False
    loader: str = ""

    @property
    def mac(self) -> str:
        return f"52:54:00:77:00:{self.number:02x}"

    @property
    def ip(self) -> str:
        return f"192.168.77.{10 + self.number}"

    def text(self) -> str:
        """The machine's table."""
        boot = ", ".join(f'"{image}"' for image in self.boot)
        text = f'[[machine]]\nname = "{self.name}"\nmac = "{self.mac}"\nip = "{self.ip}"\nboot = [{boot}]\n'
        return text + ("chap = true\n" if self.chap else "") + (f'loader = "{self.loader}"\n' if self.loader else "")


ALPHA = Image("alpha", {"1": "alpha.raw"}, "1")
BETA = Image("beta", {"1": "beta.qcow2"}, "1")


@dataclass(frozen=True)
class Site:
    """A whole site. `files` is what a commit of it holds."""

    machines: Sequence[Machine] = ()
    images: Sequence[Image] = (ALPHA,)
    may_destroy: Sequence[str] = ()
    max_destroy: int = 5
    sides: int = 2
    network: str = "server"
    volume_group: str = "cafe"
    menu_timeout: str = "1s"
    chap_secrets: str = ""
    loaders: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    def with_(self, **changes: object) -> "Site":
        """The same site with some of it changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def files(self) -> dict[str, str]:
        """Path to contents."""
        consent = ", ".join(f'"{item}"' for item in self.may_destroy)
        scope = 'range = "192.168.77.200-192.168.77.220"\nrouter = "192.168.77.1"\n' if self.network == "server" else ""
        chap = f'chap-secrets = "{self.chap_secrets}"\n' if self.chap_secrets else ""
        loaders = f'loaders = "{self.loaders}"\n' if self.loaders else ""
        files = {
            "site.toml": f'name = "{NAME}"\n[server]\naddress = "192.168.77.1"\n'
                         f'[storage]\nvolume-group = "{self.volume_group}"\nthin-pool = "pool"\ncreate-pool = true\n'
                         'pool-size = "80%"\nimage-store = "/lab/images"\n'
                         f'[iscsi]\niqn-prefix = "{PREFIX}"\n{chap}[boot]\nmenu-timeout = "{self.menu_timeout}"\n{loaders}'
                         f'[policy]\nsides = {self.sides}\nmax-destroy = {self.max_destroy}\nmay-destroy = [{consent}]\n',
            "network/lan.toml": f'interface = "br0"\nmode = "{self.network}"\nsubnet = "192.168.77.0/24"\n{scope}',
        }
        files |= {f"images/{image.name}.toml": image.text() for image in self.images}
        if self.machines:
            files["machines/room.toml"] = "\n".join(machine.text() for machine in self.machines)
        return files | dict(self.extra)


EMPTY = Site(images=(), may_destroy=("*",), max_destroy=1000)
"""Nothing at all, and the consent that makes it believable."""

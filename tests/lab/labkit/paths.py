"""Where things lie, and the cache that makes a second run quick.

It must never write outside `target/lab` and a temporary directory of the run's own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

LAB = Path(__file__).resolve().parent.parent
REPOSITORY = LAB.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
WORK = TARGET / "lab"
LOGS = WORK / "logs"


def sh(*argv: str | Path, timeout: float = 300, env: dict[str, str] | None = None, stdin: bytes | None = None) -> str:
    """Runs one program on the host and returns its output; a failure carries all it said."""
    done = subprocess.run(
        [str(a) for a in argv], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        timeout=timeout, env={**os.environ, **(env or {})}, check=False,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")[-3000:]
        raise RuntimeError(f"{' '.join(map(str, argv))}: status {done.returncode}\n{said}")
    return done.stdout.decode(errors="replace")


def key_of(*parts: str | bytes | Path) -> str:
    """A short hash of everything a recipe depends on; a path counts by its contents."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]


def cached(name: str, key: str, build: Callable[[Path], None]) -> Path:
    """The directory `<name>-<key>`, built once; a build that fails leaves nothing behind."""
    cache = WORK / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    done = cache / f"{name}-{key}"
    if done.exists():
        return done
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return done
        print(f"# building {name}", flush=True)
        partial = cache / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        build(partial)
        for old in cache.glob(f"{name}-*"):
            if len(old.name) == len(done.name):
                shutil.rmtree(old, ignore_errors=True)
        partial.rename(done)
    return done

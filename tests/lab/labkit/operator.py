"""The operator's side of a push: a repository on the host, reaching the server VM over ssh.

It must never read the git configuration or the ssh keys of whoever runs the lab.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from .failure import Failed
from .lab import key
from .server import Server


class Clone:
    """The operator's own repository, on the host."""

    def __init__(self, path: Path, server: Server, repository: str) -> None:
        self.path = path
        ssh = (f"ssh -i {key()} -p {server.ssh_port} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
               "-o IdentitiesOnly=yes -o LogLevel=ERROR -o ConnectTimeout=20")
        self.env = {**os.environ, "GIT_SSH_COMMAND": ssh, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}
        for name in ("AUTHOR", "COMMITTER"):
            self.env |= {f"GIT_{name}_NAME": "lab", f"GIT_{name}_EMAIL": "lab@example.com"}
        self.path.mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "origin", f"ssh://root@127.0.0.1{repository}")

    def git(self, *arguments: str) -> tuple[int, str]:
        """Runs git here; returns its status and all it said."""
        done = subprocess.run(["git", "-C", str(self.path), *arguments], env=self.env, stdin=subprocess.DEVNULL, timeout=180,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        return done.returncode, done.stdout

    def commit(self, files: dict[str, str], message: str) -> str:
        """Commits exactly these files; returns the commit's id."""
        self.git("rm", "-rqf", "--ignore-unmatch", ".")
        for name, text in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)
        self.git("add", "-A")
        status, said = self.git("commit", "-q", "-m", message)
        if status != 0:
            raise Failed(said)
        return self.git("rev-parse", "HEAD")[1].strip()

    def push(self) -> tuple[int, str]:
        """Pushes main."""
        return self.git("push", "origin", "HEAD:main")

    def begin_push(self) -> subprocess.Popen[str]:
        """Begins to push main."""
        return subprocess.Popen(["git", "-C", str(self.path), "push", "origin", "HEAD:main"], env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)

    @staticmethod
    def ended(pushing: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
        """Its status and what it said; past the time its connection is given up, as that of a server without power."""
        try:
            return pushing.wait(seconds), pushing.communicate()[0]
        except subprocess.TimeoutExpired:
            os.killpg(pushing.pid, signal.SIGKILL)
            return pushing.wait(), pushing.communicate()[0]

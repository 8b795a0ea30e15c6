"""A real systemd as PID 1 of namespaces of its own, over an overlay of this machine's files: units tested by running.

    with Systemd({"/opt/site": folder}) as systemd:
        systemd.write("/etc/systemd/system/a.service", "...")
        systemd.run("systemctl", "daemon-reload")

Its network is this machine's, so that it reaches the tests' brokers and the tests reach what it listens on. What is
written inside is gone with it. It ends when this process does: it is the child of an `unshare --kill-child`.

Needs root with CAP_SYS_ADMIN, unshare and nsenter (util-linux), and systemd; `unavailable()` says what is missing.
MemoryMax= and TasksMax= act only where cgroup v2 has its controllers.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers import guard
from tests.servers.child import Child, ServerFailed, private_folder

START_SECONDS = 60.0
_BOOT = Path(__file__).with_name("systemd_boot.sh")
_GROUPS = Path("/sys/fs/cgroup")
_numbers = count(1)


@cache
def unavailable() -> str:
    """Why no systemd can be run here; empty: it can."""
    missing = [tool for tool in ("unshare", "nsenter", "systemctl", "journalctl") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    if os.geteuid() != 0:
        return "needs root: a systemd of its own takes namespaces and mounts"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--cgroup", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"no namespaces here: {tried.stderr.decode().strip()}"


class Systemd:
    """One systemd, booted.

    Args:
        binds: what of this machine is seen inside at another path: path inside, folder outside.
    """

    def __init__(self, binds: Mapping[str, Path]) -> None:
        self._folder = private_folder("systemd")
        unified = _GROUPS / "unified"
        self._group = (unified if unified.is_dir() else _GROUPS) / f"livepush-{os.getpid()}-{next(_numbers)}"
        pairs = [f"{source}:{inside}" for inside, source in binds.items()]
        namespaces = ["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--kill-child"]
        unshare = ["unshare", *namespaces, "--propagation", "private", str(_BOOT), str(self._folder), *pairs]
        # The group first: what is in it when the namespace is made is the root of the new one.
        joined = 'mkdir -p "$0" && echo $$ >"$0/cgroup.procs" && exec "$@"'
        self._child = Child(
            ["sh", "-c", joined, str(self._group), *unshare],
            folder=self._folder,
            environ={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            log=self._folder / "log",
        )
        self._pid = 0
        try:
            self._child.wait_until(self._is_up, START_SECONDS)
        except ServerFailed:
            self.close()
            raise

    def run(self, *words: str, check: bool = True) -> str:
        """What a command says inside, standard error with it.

        Raises:
            ServerFailed: its exit status is not zero, and `check`.
        """
        done = subprocess.run(
            ["nsenter", "--target", str(self._pid), "--all", "--", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode:
            raise ServerFailed(f"{' '.join(words)}: {done.stdout}\n{self.journal()[-6000:]}")
        return done.stdout

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """A file inside."""
        nsenter = ["nsenter", "--target", str(self._pid), "--all", "--"]
        script = 'mkdir -p "$(dirname "$0")" && cat >"$0" && chmod "$1" "$0"'
        subprocess.run([*nsenter, "sh", "-c", script, path, mode], input=text, text=True, check=True, timeout=60)

    def path(self, inside: str) -> Path:
        """Where this machine sees a file that is inside."""
        return Path(f"/proc/{self._pid}/root{inside}")

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", unit, f"--property={name}", "--value").strip()

    def journal(self, unit: str | None = None) -> str:
        """What was logged, by a unit or at all."""
        of = [] if unit is None else ["--unit", unit]
        return self.run("journalctl", "--no-pager", "--output=cat", *of, check=False)

    def wait_until(self, unit: str, name: str, value: str, seconds: float = START_SECONDS) -> float:
        """Waits until a property of a unit has a value; how long that took.

        Raises:
            ServerFailed: it has not in time.
        """
        begun = time.monotonic()
        self._child.wait_until(lambda: self.show(unit, name) == value, seconds)
        return time.monotonic() - begun

    def wait_for(self, unit: str, text: str, seconds: float = START_SECONDS) -> str:
        """A unit's journal, once it has a text.

        Raises:
            ServerFailed: it has not in time.
        """
        self._child.wait_until(lambda: text in self.journal(unit), seconds)
        return self.journal(unit)

    def close(self) -> None:
        """Ends it with all that it runs. May be called twice."""
        if self._pid and self._child.running:
            os.kill(self._pid, signal.SIGKILL)  # `unshare` ends when all in its namespaces have
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(START_SECONDS)
        self._child.kill()
        for group in sorted(self._group.rglob("*"), reverse=True) if self._group.is_dir() else []:
            if group.is_dir():
                with suppress(OSError):
                    group.rmdir()
        with suppress(OSError):
            self._group.rmdir()
        guard.remove(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_up(self) -> bool:
        children = Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children").read_text().split()
        if not children:
            return False
        self._pid = int(children[0])
        asked = ["nsenter", "--target", str(self._pid), "--all", "--", "systemctl", "is-system-running"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60).stdout.strip()
        return said in ("running", "degraded")

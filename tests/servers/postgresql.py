"""A private PostgreSQL cluster: on loopback only, and no system cluster is touched.

    server = shared_postgresql()        # one per trial process, started by whoever asks first
    name = server.fresh_database()      # an empty database of its own for one test
    self.addCleanup(server.drop, name)
    self.use_database("default", **server.settings(name))     # of `tests.cases.CommittedCase`

PostgreSQL refuses to run as root; then it runs as `nobody`. A guard process holds the read end of a pipe: when this
process dies, whatever way, it kills what was started here.
"""

from __future__ import annotations

import atexit
import glob
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.servers.ports import free_port

START_SECONDS = 60.0
USER = "livepush"

_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
_MISSING = "postgresql is not installed: `make test` installs it (Debian package postgresql)"
_CONF = """
listen_addresses = '127.0.0.1'
fsync = off
max_connections = 40
shared_buffers = 16MB
"""
# The `read` ends when the last holder of the pipe's other end is gone. SIGQUIT ends the children, too.
_GUARD = 'read -r _; kill -QUIT "$1" 2>/dev/null; sleep 0.2; rm -rf "$2"'


class ClusterFailed(Exception):
    """The cluster could not be started; the message holds the end of its log."""


class PrivatePostgreSQL:
    """One cluster in a folder of its own, with one user that may make databases."""

    def __init__(self) -> None:
        self.port = free_port()
        self._password = secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="livepush-postgresql-"))
        self._data = self._folder / "data"
        self._server: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    # --- life

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._server is not None and self._server.poll() is None

    def start(self, timeout: float = START_SECONDS) -> None:
        """Returns when it answers; `ClusterFailed` with its log when it ends or has not within `timeout`."""
        tools = _tools()
        if not self._data.exists():
            self._make(tools)
        self._server = self._spawn([f"{tools}/postgres", "-D", str(self._data), "-p", str(self.port), "-k", ""])
        self._watch()
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._connect("postgres").close()
            except psycopg.OperationalError:
                with suppress(subprocess.TimeoutExpired):
                    self._server.wait(0.05)
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise ClusterFailed(f"postgres does not answer\n{self.log()}") from None
            else:
                return

    def kill(self) -> None:
        """Ends it without a clean shut-down, with its children: what was not committed is lost, as in a crash."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)
            try:
                self._server.wait(20)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()

    def stop(self) -> None:
        """Ends everything that was started here and removes the folder. May be called twice."""
        self.kill()
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.kill()
            self._guard.wait()
            self._guard.stdin.close()
            self._guard = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def log(self) -> str:
        """The end of what it said."""
        path = self._folder / "log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    # --- use

    def settings(self, name: str, *, port: int | None = None) -> dict[str, Any]:
        """Of one of its databases, as in Django's `DATABASES`; `port` leads through a proxy."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": USER,
            "PASSWORD": self._password,
            "HOST": "127.0.0.1",
            "PORT": str(port or self.port),
            "OPTIONS": {"connect_timeout": 5},
        }

    def fresh_database(self) -> str:
        """The name of a new, empty database."""
        name = f"test_{secrets.token_hex(6)}"
        with self._connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name

    def drop(self, name: str) -> None:
        """A database goes, whoever is connected to it."""
        if self.running:
            with self._connect("postgres") as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())

    # --- within

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=self._password,
            dbname=name,
            autocommit=True,
            connect_timeout=5,
        )

    def _make(self, tools: str) -> None:
        user, group = _account()
        if user is not None and group is not None:
            os.chown(self._folder, user, group)
        word = self._folder / "password"
        word.write_text(self._password)
        word.chmod(0o644)  # its folder is closed to others
        options = [f"--username={USER}", f"--pwfile={word}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        done = self._spawn([f"{tools}/initdb", f"--pgdata={self._data}", "--no-sync", *options])
        if done.wait(START_SECONDS):
            raise ClusterFailed(f"initdb failed\n{self.log()}")
        word.unlink()
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.write(_CONF)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        user, group = _account()
        with (self._folder / "log").open("ab") as out:
            return subprocess.Popen(
                command,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": str(self._folder)},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # a Ctrl-C is for the tests
                user=user,
                group=group,
            )

    def _watch(self) -> None:
        assert self._server is not None
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self._server.pid), str(self._folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )


_shared: PrivatePostgreSQL | None = None


def shared_postgresql() -> PrivatePostgreSQL:
    """The cluster of this process, running; stopped when the process ends."""
    global _shared  # noqa: PLW0603 - one per process is its meaning
    if _shared is None:
        _tools()
        _shared = PrivatePostgreSQL()
        atexit.register(_shared.stop)
    if not _shared.running:
        _shared.start()
    return _shared


def _account() -> tuple[int | None, int | None]:
    """User and group that a server of root's runs as; None: as ourselves."""
    if os.getuid() != 0:
        return None, None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _tools() -> str:
    """The folder of `postgres` and `initdb` themselves: Debian's wrappers look for system clusters."""
    for pattern in (os.environ.get("POSTGRESQL_BIN", ""), *_FOLDERS):
        for folder in sorted(glob.glob(pattern), reverse=True):
            if os.access(f"{folder}/initdb", os.X_OK):
                return folder
    raise ClusterFailed(_MISSING)

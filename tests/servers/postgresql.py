"""A private PostgreSQL cluster: on loopback only, and no system cluster is touched.

    server = shared_postgresql()        # one per trial process, started by whoever asks first
    name = server.fresh_database()      # an empty database of its own for one test
    self.addCleanup(server.drop, name)
    self.use_database("default", **server.settings(name))     # of `tests.cases.CommittedCase`

PostgreSQL refuses to run as root; then it runs as `nobody`.
"""

from __future__ import annotations

import atexit
import glob
import os
import pwd
import secrets
import signal
from typing import Any

import psycopg

from tests.servers import guard
from tests.servers.child import Child, ServerFailed, private_folder, tail
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


class PrivatePostgreSQL:
    """One cluster in a folder of its own, with one user that may make databases."""

    def __init__(self) -> None:
        self.port = free_port()
        self._password = secrets.token_hex(16)
        self._folder = private_folder("postgresql")
        self._data = self._folder / "data"
        self._server: Child | None = None

    # --- life

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._server is not None and self._server.running

    def start(self, timeout: float = START_SECONDS) -> None:
        """Returns when it answers; `ServerFailed` with its log when it ends or has not within `timeout`."""
        tools = _tools()
        if not self._data.exists():
            self._make(tools)
        self._server = self._spawn([f"{tools}/postgres", "-D", str(self._data), "-p", str(self.port), "-k", ""])
        self._server.wait_until(self._answers, timeout)

    def kill(self) -> None:
        """Ends it without a clean shut-down, with its children: what was not committed is lost, as in a crash."""
        if self._server is not None:
            self._server.kill()

    def stop(self) -> None:
        """Ends everything that was started here and removes the folder. May be called twice."""
        self.kill()
        guard.remove(self._folder)

    def log(self) -> str:
        """The end of what it said."""
        return tail(self._folder / "log", 2000)

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
        if account := _account():
            os.chown(self._folder, *account)
        word = self._folder / "password"
        word.write_text(self._password)
        word.chmod(0o644)  # its folder is closed to others
        options = [f"--username={USER}", f"--pwfile={word}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        done = self._spawn([f"{tools}/initdb", f"--pgdata={self._data}", "--no-sync", *options])
        if done.wait(START_SECONDS):
            raise ServerFailed(f"initdb failed\n{self.log()}")
        word.unlink()
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.write(_CONF)

    def _spawn(self, command: list[str]) -> Child:
        environ = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": str(self._folder)}
        log = self._folder / "log"
        # SIGQUIT: its children go with it.
        return Child(command, folder=self._folder, environ=environ, log=log, account=_account(), ending=signal.SIGQUIT)

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True


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


def _account() -> tuple[int, int] | None:
    """User and group that a server of root's runs as; None: as ourselves."""
    if os.getuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _tools() -> str:
    """The folder of `postgres` and `initdb` themselves: Debian's wrappers look for system clusters."""
    for pattern in (os.environ.get("POSTGRESQL_BIN", ""), *_FOLDERS):
        for folder in sorted(glob.glob(pattern), reverse=True):
            if os.access(f"{folder}/initdb", os.X_OK):
                return folder
    raise ServerFailed(_MISSING)

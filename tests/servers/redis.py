"""A private Redis: on loopback only, with a password, and no system service is touched.

    server = shared_redis()             # one per trial process, started by whoever asks first
    url = server.fresh_url()            # redis://:password@127.0.0.1:40123/7, an empty database of its own for one test

A test that kills, freezes or restarts may use the shared server too: the next one to ask finds it running again. What
was stored is gone then, as it is with Redis as a cache; `conf=("appendonly yes",)` keeps it.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import socket
import ssl
import subprocess
from functools import cached_property
from urllib.parse import quote

from tests.servers import guard
from tests.servers.certificate import Certificate, self_signed
from tests.servers.child import Child, ServerFailed, private_folder, tail
from tests.servers.ports import free_port

START_SECONDS = 60.0
DATABASES = 1024

_MISSING = "redis-server is not installed: `make test` installs it (Debian package redis-server)"


class PrivateRedis:
    """One server in a folder of its own.

    Args:
        conf: lines for its configuration.
        password: of its user `default`; empty: it asks for none.
        tls: whether it speaks TLS only, with a certificate that signs itself.

    Attributes:
        port: on 127.0.0.1.
        password: that of its user.
        folder: where it runs.
    """

    def __init__(self, *, conf: tuple[str, ...] = (), password: str | None = None, tls: bool = False) -> None:
        self.port = free_port()
        self.password = secrets.token_hex(16) if password is None else password
        self._conf, self._tls = conf, tls
        self.folder = private_folder("redis")
        self._log = self.folder / "redis.log"
        self._server: Child | None = None
        self._databases = 0

    # --- life

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._server is not None and self._server.running

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._server is not None
        return self._server.pid

    def start(self, timeout: float = START_SECONDS) -> None:
        """Returns when it answers; `ServerFailed` with its log when it ends or has not within `timeout`."""
        program = shutil.which("redis-server")
        if program is None:
            raise ServerFailed(_MISSING)
        configuration = self.folder / "redis.conf"
        configuration.write_text("\n".join([*self._lines(), *self._conf, ""]))
        configuration.chmod(0o600)
        environ = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
        command = [program, str(configuration)]
        self._server = Child(command, folder=self.folder, environ=environ, log=self._log)
        self._server.wait_until(self._answers, timeout)

    def freeze(self) -> None:
        """SIGSTOP: connections stay, and nothing answers."""
        assert self._server is not None
        self._server.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._server is not None
        self._server.thaw()

    def terminate(self) -> None:
        """A clean end: SIGTERM."""
        if self._server is not None:
            self._server.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        if self._server is not None:
            self._server.kill()

    def restart(self, *, hard: bool = False) -> None:
        """Ends it (`hard`: by SIGKILL) and starts it again on the same port."""
        if hard:
            self.kill()
        else:
            self.terminate()
        self.start()

    def stop(self) -> None:
        """Ends it and removes the folder. May be called twice."""
        self.kill()
        guard.remove(self.folder)

    def log(self) -> str:
        """The end of what it wrote."""
        return tail(self._log)

    # --- use

    @cached_property
    def certificate(self) -> Certificate:
        """What a client has to trust, with `tls`."""
        return self_signed(self.folder)

    def url(self, *, database: int = 0, port: int | None = None, password: str | None = None) -> str:
        """A `redis:` address, `rediss:` with `tls`; `port` leads through a proxy, `password` may be a wrong one."""
        word = quote(self.password if password is None else password, safe="")
        login = f":{word}@" if word else ""
        return f"redis{'s' if self._tls else ''}://{login}127.0.0.1:{port or self.port}/{database}"

    def fresh_url(self, *, port: int | None = None) -> str:
        """The address of a database that is empty; after a thousand of them the first comes again."""
        database = self._databases = self._databases % (DATABASES - 1) + 1
        self.cli("FLUSHDB", database=database)
        return self.url(database=database, port=port)

    def cli(self, *words: str, database: int = 0) -> str:
        """What a command answers, as `redis-cli` prints it; `ServerFailed` if that is an error."""
        command = ["redis-cli", "-h", "127.0.0.1", "-p", str(self.port), "-n", str(database), "-e"]
        if self._tls:
            command += ["--tls", "--cacert", str(self.certificate.path)]
        environ = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
        if self.password:
            environ["REDISCLI_AUTH"] = self.password
        done = subprocess.run(
            [*command, *words],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode:
            raise ServerFailed(f"redis-cli {' '.join(words)}: exit {done.returncode}\n{done.stdout}{self.log()}")
        return done.stdout.rstrip("\n")

    # --- inside

    def _lines(self) -> list[str]:
        lines = ["bind 127.0.0.1", "daemonize no", f"databases {DATABASES}", 'save ""', f"dir {self.folder}"]
        if self.password:
            lines.append(f"requirepass {self.password}")
        if not self._tls:
            return [*lines, f"port {self.port}"]
        files = self.certificate
        lines += ["port 0", f"tls-port {self.port}", "tls-auth-clients no"]
        return [*lines, f"tls-cert-file {files.path}", f"tls-key-file {files.key}", f"tls-ca-cert-file {files.path}"]

    def _answers(self) -> bool:
        """Whether it takes commands: it says PONG, or that it wants a password first."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                if not self._tls:
                    return _pong(connection)
                context = ssl.create_default_context(cafile=self.certificate.path)
                with context.wrap_socket(connection, server_hostname="127.0.0.1") as secured:
                    return _pong(secured)
        except OSError:
            return False


_shared: PrivateRedis | None = None


def shared_redis() -> PrivateRedis:
    """The server of this process, running and thawed; stopped when the process ends."""
    global _shared  # noqa: PLW0603 - one per process is its meaning
    if _shared is None:
        _shared = PrivateRedis()
        atexit.register(_shared.stop)
    if not _shared.running:
        _shared.start()
    _shared.thaw()
    return _shared


def _pong(connection: socket.socket) -> bool:
    connection.sendall(b"PING\r\n")
    return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))

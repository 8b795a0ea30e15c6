"""The variables that the example is run with, read and validated once. Nothing else of the site reads `os.environ`.

    variable                default      meaning
    ----------------------  -----------  ---------------------------------------------------------------------------
    SITE_PORT               8000         the site, on 127.0.0.1
    PUSH_PORT               8989         the livepush daemon, on 127.0.0.1
    PUSH_URL                             where browsers find it: wss://push.example.com/livepush/ws; empty: the page's
                                         own host, at PUSH_PORT
    AMQP_PORT               5673         the embedded broker, on 127.0.0.1; of no meaning with another BROKER
    BROKER                  embedded:    or amqp://user:password@host:port/vhost of a RabbitMQ
    DEMO_DIR                .demo        in the checkout: SQLite file and secret key, mode 0700, files 0600
    ORDERS_FREE_LOCK_TIME   60           seconds after which a lock is freed; 0: never

Standard library only: the demo runner uses it before anything is installed.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

MARKER = "livepush-demo"
"""The file by which a folder is known as a demo's own: only such a folder is ever removed."""

YEAR = 365 * 24 * 3600


class BadVariable(ValueError):
    """A variable holds what it cannot hold; the text names variable, value and remedy."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the example runs. Make it with `Environment.read`."""

    site_port: int = 8000
    push_port: int = 8989
    push_url: str = ""
    amqp_port: int = 5673
    broker: str = "embedded:"
    demo_dir: Path = ROOT / ".demo"
    free_lock_seconds: int = 60

    def __post_init__(self) -> None:
        taken: dict[int, str] = {}
        for name, port in self.ports.items():
            if port in taken:
                raise BadVariable(f"{taken[port]} and {name} are both {port}: choose different ports")
            taken[port] = name

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Environment:
        """What the variables say; `BadVariable` if one says something impossible. Empty counts as not set."""
        default = cls()
        broker = environ.get("BROKER") or default.broker
        amqp_port = _integer(environ, "AMQP_PORT", default.amqp_port, 1, 65535)
        if broker.startswith("embedded:"):
            if port := broker.removeprefix("embedded:"):
                amqp_port = _integer({"BROKER": port}, "BROKER", 0, 1, 65535)
            broker = "embedded:"
        elif not broker.startswith(("amqp://", "amqps://")):
            # Not named in full: what was meant as a URL may hold a password.
            raise BadVariable("BROKER must be embedded:, embedded:PORT or amqp://user:password@host:port/vhost")
        return cls(
            site_port=_integer(environ, "SITE_PORT", default.site_port, 1, 65535),
            push_port=_integer(environ, "PUSH_PORT", default.push_port, 1, 65535),
            push_url=_socket_url(environ, "PUSH_URL"),
            amqp_port=amqp_port,
            broker=broker,
            demo_dir=Path(environ.get("DEMO_DIR") or default.demo_dir).expanduser().absolute(),
            free_lock_seconds=_integer(environ, "ORDERS_FREE_LOCK_TIME", default.free_lock_seconds, 0, YEAR),
        )

    @property
    def ports(self) -> dict[str, int]:
        """The ports that the demo listens on, by the variable that chooses them."""
        ports = {"SITE_PORT": self.site_port, "PUSH_PORT": self.push_port}
        return {**ports, "AMQP_PORT": self.amqp_port} if self.embedded else ports

    @property
    def embedded(self) -> bool:
        """Whether the broker is the daemon's own."""
        return self.broker == "embedded:"

    @property
    def broker_url(self) -> str:
        """For `LIVEPUSH_BROKER_URL`. Holds a RabbitMQ's password: neither print it nor put it on a command line."""
        return f"embedded:{self.amqp_port}" if self.embedded else self.broker

    @property
    def push_sources(self) -> list[str]:
        """What pages connect to, as a Content-Security-Policy says it; empty: `PUSH_URL` is not set."""
        scheme, _, rest = self.push_url.partition("://")
        host = rest.partition("/")[0]
        return [f"{each}://{host}" for each in (scheme, scheme.replace("ws", "http"))] if host else []

    @property
    def variables(self) -> dict[str, str]:
        """The same as environment variables, for child processes."""
        return {
            "SITE_PORT": str(self.site_port),
            "PUSH_PORT": str(self.push_port),
            "PUSH_URL": self.push_url,
            "AMQP_PORT": str(self.amqp_port),
            "BROKER": self.broker,
            "DEMO_DIR": str(self.demo_dir),
            "ORDERS_FREE_LOCK_TIME": str(self.free_lock_seconds),
            "LIVEPUSH_BROKER_URL": self.broker_url,
        }

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.demo_dir / "exchange.sqlite3"

    def prepare(self) -> None:
        """Make the folder and the files in it, for this user's eyes only. What is there is kept.

        Raises:
            BadVariable: DEMO_DIR is something else's folder, or cannot be made.
        """
        try:
            self.demo_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            # One listing: another process may be making the same files now, and makes the marker first.
            files = os.listdir(self.demo_dir)
            if files and MARKER not in files:
                raise BadVariable(f"DEMO_DIR {self.demo_dir} holds other files: name an empty or a new folder")
            self.demo_dir.chmod(0o700)
            _create(self.demo_dir / MARKER, "This folder belongs to the livepush demo; `make demo-reset` removes it.\n")
            _create(self.database, "")  # SQLite gives its -wal and -shm files the mode of this one.
        except OSError as error:
            raise BadVariable(f"DEMO_DIR {self.demo_dir} cannot be used: {error.strerror}") from error

    def secret_key(self) -> str:
        """Django's secret key of this demo, generated when first asked for. The embedded broker's password is of it."""
        self.prepare()
        path = self.demo_dir / "secret_key"
        # Linked into place whole, so that two processes that start together read one and the same.
        if not path.exists():
            draft = self.demo_dir / f"secret_key.{os.getpid()}"
            _create(draft, secrets.token_urlsafe(50))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_text("ascii")

    def remove(self) -> bool:
        """Remove the folder; False if there is none.

        Raises:
            BadVariable: the folder is not a demo's, or holds what no demo puts there.
        """
        if not self.demo_dir.exists():
            return False
        if not self._is_ours():
            raise BadVariable(f"DEMO_DIR {self.demo_dir} was not made by the demo: nothing removed")
        try:
            for path in sorted(self.demo_dir.iterdir(), key=lambda path: path.name == MARKER):
                path.unlink()
            self.demo_dir.rmdir()
        except OSError as error:
            raise BadVariable(f"DEMO_DIR {self.demo_dir} cannot be removed: {error}") from error
        return True

    def _is_ours(self) -> bool:
        return (self.demo_dir / MARKER).is_file()


def _integer(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise BadVariable(f"{name} is {text[:40]!r}: must be a whole number from {low} to {high}")
    return int(text)


def _socket_url(environ: Mapping[str, str], name: str) -> str:
    text = environ.get(name, "").strip()
    if text and not re.fullmatch(r"wss?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~/-]*)?", text):
        raise BadVariable(f"{name} is {text[:60]!r}: must be such as wss://push.example.com/livepush/ws")
    return text


def _create(path: Path, text: str) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with open(file, "w", encoding="ascii") as stream:
        stream.write(text)

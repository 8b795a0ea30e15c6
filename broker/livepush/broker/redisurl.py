"""Where Redis is: `redis://` or, over TLS, `rediss://`.

    redis://user:password@host:port/db       port 6379, database 0, no account where left out
    rediss://user:password@host:port/db      the same over TLS; options cacertfile, certfile, keyfile

The schemes are those that IANA has registered (`redis`, `rediss`). Whatever is not a letter, a digit or one of - . _ ~
in user and password is percent-encoded. `redis://:password@host` is the account "default", as Redis itself has it.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from livepush.broker.errors import BadURL
from livepush.broker.tls import client_context

PORT = 6379
EXAMPLE = "redis://:password@127.0.0.1:6379/0"

_FILES = ("cacertfile", "certfile", "keyfile")
_RIGHT = f"a right one is {EXAMPLE}"


@dataclass(frozen=True, slots=True)
class RedisURL:
    """Redis's address and the account to use there. No text made from it shows the password.

    Attributes:
        user: None: the account "default".
        password: None: none is asked for.
        database: its number.
        cacertfile: PEM file of the authorities to trust; None: the system's.
        certfile: PEM file of a client certificate, with `keyfile` where the key is not in it.
    """

    host: str
    port: int = PORT
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: bool = False
    cacertfile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None

    @classmethod
    def parse(cls, text: object) -> RedisURL:
        """Reads an address.

        Raises:
            BadURL: what is wrong and a right example, without any part that may be a password.
        """
        if not isinstance(text, str):
            raise BadURL(f"must be a str, not {type(text).__name__}; {_RIGHT}")
        try:
            parts = urlsplit(text.strip())
            host = parts.hostname
        except ValueError:
            raise BadURL(f"can't be read; {_RIGHT}") from None
        if parts.scheme not in ("redis", "rediss"):
            raise BadURL(f"begins with none of redis:// rediss://; {_RIGHT}")
        if parts.fragment or "@" in f"{parts.path}{parts.query}":
            raise BadURL(f"user and password must be percent-encoded (/ is %2F, @ is %40, # is %23); {_RIGHT}")
        if not host or not re.fullmatch(r"[A-Za-z0-9._:%-]+", host):
            raise BadURL(f"names no host; {_RIGHT}")
        port = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
        return cls(
            host,
            _number("port", port, 1, 65535) if port else PORT,
            _unquoted(parts.username),
            _unquoted(parts.password),
            _number("database", parts.path[1:], 0, 100_000) if parts.path.strip("/") else 0,
            parts.scheme == "rediss",
            *_options(parts.query, parts.scheme == "rediss"),
        )

    @property
    def safe(self) -> str:
        """The address without the account, for logs and for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"

    def __str__(self) -> str:
        return self.safe

    def ssl_context(self) -> ssl.SSLContext | None:
        """What TLS needs, with certificates verified; None without TLS.

        Raises:
            BadURL: a certificate file can't be read.
        """
        return client_context(self) if self.tls else None


def _number(what: str, text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or not least <= int(text) <= most:
        # Not repeated: a password with an unescaped "/" or "#" ends up in this place.
        raise BadURL(f"the {what} is no number from {least} to {most}; {_RIGHT}")
    return int(text)


def _unquoted(text: str | None) -> str | None:
    try:
        value = unquote(text, errors="strict") if text else None
        (value or "").encode()  # what the environment holds may be no UTF-8 either
    except UnicodeError:
        raise BadURL(f"user or password is not UTF-8 when percent-decoded; {_RIGHT}") from None
    return value


def _options(query: str, tls: bool) -> list[str | None]:
    try:
        options = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=10)
    except ValueError:
        raise BadURL(f"the options after ? can't be read; {_RIGHT}") from None
    for name, value in options:
        if name not in _FILES or not value or not tls:
            raise BadURL(f"options are {', '.join(_FILES)}, each the path of a PEM file, with rediss:// only; {_RIGHT}")
    return [dict(options).get(name) for name in _FILES]

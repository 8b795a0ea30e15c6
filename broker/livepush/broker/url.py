"""Where the broker is: `amqp://`, `amqps://` or `embedded:`.

    amqp://user:password@host:port/vhost     RabbitMQ; port 5672, vhost "/", guest/guest where left out
    amqps://user:password@host:port/vhost    the same over TLS; port 5671; options cacertfile, certfile, keyfile
    embedded:  embedded:PORT                 the broker inside the daemon: 127.0.0.1, port 5673

The scheme is RabbitMQ's (https://www.rabbitmq.com/docs/uri-spec), except that an empty vhost is "/". Whatever is not a
letter, a digit or one of - . _ ~ in user, password and vhost is percent-encoded: "/" is %2F, "@" is %40.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pika

from livepush.broker.errors import BadURL
from livepush.broker.tls import client_context

EMBEDDED_PORT = 5673
EMBEDDED_USER = "livepush"
EXAMPLE = "amqp://user:password@127.0.0.1:5672/%2F"

_PORTS = {"amqp": 5672, "amqps": 5671}
_FILES = ("cacertfile", "certfile", "keyfile")
_RIGHT = f"a right one is {EXAMPLE} or embedded:"


@dataclass(frozen=True, slots=True)
class BrokerURL:
    """A broker's address and the account to use there. No text made from it shows the password.

    Attributes:
        embedded: whether it is the broker inside the daemon.
        host: name or address, an IPv6 address without its brackets.
        tls: whether to speak TLS; certificate and name are verified.
        cacertfile: PEM file of trusted authorities; None: the system's.
        certfile: PEM file of a client certificate, with `keyfile` where the key is not in it.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    vhost: str = "/"
    tls: bool = False
    embedded: bool = False
    cacertfile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None

    @classmethod
    def parse(cls, text: object, embedded_password: str | None = None) -> BrokerURL:
        """Reads an address.

        Args:
            text: as it stands in the settings.
            embedded_password: of the embedded broker, whose address holds none.

        Raises:
            BadURL: what is wrong and a right example, without any part that may be a password.
        """
        if not isinstance(text, str):
            raise BadURL(f"must be a str, not {type(text).__name__}; {_RIGHT}")
        scheme, colon, rest = text.strip().partition(":")
        scheme = scheme.lower()
        if not colon or scheme not in ("amqp", "amqps", "embedded"):
            raise BadURL(f"begins with none of amqp:// amqps:// embedded:; {_RIGHT}")
        if scheme == "embedded":
            port = _port(rest) if rest else EMBEDDED_PORT
            return cls("127.0.0.1", port, EMBEDDED_USER, embedded_password or "", embedded=True)
        return cls._parse_amqp(scheme, text.strip())

    @classmethod
    def _parse_amqp(cls, scheme: str, text: str) -> BrokerURL:
        try:
            parts = urlsplit(text)
            host = parts.hostname
        except ValueError:
            raise BadURL(f"can't be read; {_RIGHT}") from None
        if parts.fragment or "@" in f"{parts.path}{parts.query}" or "/" in parts.path[1:]:
            raise BadURL(f"user, password and vhost must be percent-encoded (/ is %2F, @ is %40, # is %23); {_RIGHT}")
        if not text[len(scheme) :].startswith("://") or not host:
            raise BadURL(f"names no host; {_RIGHT}")
        if not re.fullmatch(r"[A-Za-z0-9._:%-]+", host):
            raise BadURL(f"the host holds what no host name has; {_RIGHT}")
        tail = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")
        port = _port(tail[2]) if tail[2] else _PORTS[scheme]
        files = _options(parts.query, scheme == "amqps")
        user = "guest" if parts.username is None else _unquoted("user", parts.username)
        password = "guest" if parts.username is None else _unquoted("password", parts.password or "")
        return cls(
            host, port, user, password, _unquoted("vhost", parts.path[1:]) or "/", scheme == "amqps", False, *files
        )

    @property
    def safe(self) -> str:
        """The address without the account, for logs and for people."""
        if self.embedded:
            return f"embedded:{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'amqps' if self.tls else 'amqp'}://{host}:{self.port}/{quote(self.vhost, safe='')}"

    def __str__(self) -> str:
        return self.safe

    def ssl_context(self) -> ssl.SSLContext | None:
        """What TLS needs, with certificates verified; None without TLS.

        Raises:
            BadURL: a certificate file can't be read.
        """
        return client_context(self) if self.tls else None

    def parameters(self, heartbeat: int = 10, name: str = "livepush") -> pika.ConnectionParameters:
        """For pika.

        Args:
            heartbeat: seconds; the broker's own proposal is overridden.
            name: what the operator sees in RabbitMQ's list of connections.
        """
        context = self.ssl_context()
        return pika.ConnectionParameters(
            host=self.host,
            port=self.port,
            virtual_host=self.vhost,
            credentials=pika.PlainCredentials(self.user, self.password, erase_on_connect=False),
            heartbeat=heartbeat,
            ssl_options=None if context is None else pika.SSLOptions(context, self.host),
            connection_attempts=1,
            retry_delay=0,
            socket_timeout=5,
            stack_timeout=10,
            blocked_connection_timeout=None,
            client_properties={"connection_name": name},
        )


def without_password(text: str) -> str:
    """A broker's address as given, right or wrong, to be shown."""
    head, at, tail = text.rpartition("@")
    scheme, colon, _ = head.partition("://")
    return text if not at else f"{scheme if colon else ''}{colon}...@{tail}"


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        # Not repeated: a password with an unescaped "/" or "#" ends up in the place of the port.
        raise BadURL(f"the port is no number from 1 to 65535; {_RIGHT}")
    return int(text)


def _unquoted(what: str, text: str) -> str:
    try:
        value = unquote(text, errors="strict")
        size = len(value.encode())  # what the environment holds may be no UTF-8 either
    except UnicodeError:
        raise BadURL(f"the {what} is not UTF-8 when percent-decoded; {_RIGHT}") from None
    if size > 255 or "\0" in value:
        raise BadURL(f"the {what} is longer than 255 bytes or holds a NUL; {_RIGHT}")
    return value


def _options(query: str, tls: bool) -> list[str | None]:
    try:
        options = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=10)
    except ValueError:
        raise BadURL(f"the options after ? can't be read; {_RIGHT}") from None
    for name, value in options:
        if name not in _FILES or not value or not tls:
            raise BadURL(f"options are {', '.join(_FILES)}, each the path of a PEM file, with amqps:// only; {_RIGHT}")
    return [dict(options).get(name) for name in _FILES]

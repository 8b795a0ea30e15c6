"""The `LIVEPUSH_*` settings: one frozen, validated value; the only place that reads Django's settings for them.

Options of the daemon override what comes by environment, file or systemd credential (secrets only, see `credentials`),
which overrides the settings, which override the defaults below. `docs/reference/settings.md` has the same table; a test
compares the two.

This module is past 400 lines because a setting, its default and what it may be are read together.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.crypto import salted_hmac

from livepush.broker.redisurl import RedisURL
from livepush.broker.topology import CHUNK_SECONDS
from livepush.django.credentials import BadCredential, credential

if TYPE_CHECKING:
    from livepush.broker.url import BrokerURL

PREFIX = "LIVEPUSH_"
PATH = "/livepush/ws"
"""Where the daemon's native WebSocket is."""

ABSENT: Any = object()
"""A setting that is not given; None is a value."""

SIGNALS = ("logout", "sessions", "users", "permissions")
"""What `LIVEPUSH_SIGNALS` may name; see `livepush.django.receivers`."""

_MIB = 2**20
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#@]+", re.IGNORECASE | re.ASCII)
_PATH = re.compile(r"(?:/[A-Za-z0-9_-]+){1,8}", re.ASCII)
_RESERVED = frozenset({"livepush", "socket.io", "healthz", "readyz", "metrics"})
_SCRIPT = re.compile(r"(?:https?://[A-Za-z0-9.:-]+)?/[\x21\x23-\x25\x28-\x3b\x3d\x3f-\x5b\x5d-\x7e]+", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,40}", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]{16,}", re.ASCII)


class BadSetting(ImproperlyConfigured, ValueError):
    """A `LIVEPUSH_*` setting that can't be used.

    Attributes:
        setting: its full name.
        why: what is wrong with it, and what is right.
    """

    def __init__(self, setting: str, value: object, why: str, secret: bool = False) -> None:
        super().__init__(f"{setting}: {why}" if secret else f"{setting} {_shown(value)}: {why}")
        self.setting, self.why = setting, why


def _setting(default: Any, check: Callable[[Any], Any], secret: bool = False) -> Any:
    """A field of `Conf`.

    Args:
        default: without the setting.
        check: returns the value in its one form, or raises ValueError with what is right.
        secret: the value never stands in a message or a repr, and may come by environment, file or credential.
    """
    return field(default=default, repr=not secret, metadata={"check": check, "secret": secret})


def _integer(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"must be an int from {least} to {most}")
        return value

    return check


def _seconds(value: Any) -> Any:
    if type(value) not in (int, float) or not 0.1 <= value <= 3600:
        raise ValueError("must be a number of seconds from 0.1 to 3600")
    return value


def _patience(value: Any) -> Any:
    if type(value) not in (int, float) or not 0 <= value <= 3600:
        raise ValueError("must be a number of seconds from 0 to 3600")
    return value


def _drain(value: Any) -> Any:
    if value is not None and (type(value) not in (int, float) or not 0 <= value <= 600):
        raise ValueError("must be None or a number of seconds from 0 to 600")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be True or False")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a str that is not empty")
    return value


def _token(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and _TOKEN.fullmatch(value)):
        raise ValueError("must be None or at least 16 visible ASCII characters, as secrets.token_urlsafe() makes them")
    return value


def _broker_url(value: Any) -> str:
    from livepush.broker.url import BrokerURL  # pika is needed from here on only

    text = _text(value)
    BrokerURL.parse(text, embedded_password="checked only")  # noqa: S106
    return text


def _publish_url(value: Any) -> str | None:
    return None if value is None else _broker_url(value)


def _redis_url(value: Any) -> str | None:
    if value is None:
        return None
    text = _text(value)
    RedisURL.parse(text)
    return text


def _prefix(value: Any) -> str:
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        raise ValueError('must be 1 to 40 of A-Z a-z 0-9 _ - . :, such as "livepush"')
    return value


def _redis_timeout(value: Any) -> Any:
    if type(value) not in (int, float) or not 0.05 <= value <= 4:
        raise ValueError("must be a number of seconds from 0.05 to 4")
    return value


def _origins(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise ValueError('must be None or a list of origins, such as ["https://www.example.com"]')
    for origin in value:
        if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} must be scheme://host or scheme://host:port, such as https://www.example.com")
    return tuple(value)


def _websocket_url(value: Any) -> str | None:
    if value is None:
        return None
    right = "must be None or the daemon's address for browsers, such as wss://push.example.com/livepush/ws"
    if not isinstance(value, str):
        raise ValueError(right)
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(right) from None
    scheme = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}.get(parts.scheme)
    if scheme is None or not host or "@" in parts.netloc or parts.query or parts.fragment or re.search(r"\s", value):
        raise ValueError(right)
    return urlunsplit((scheme, parts.netloc, parts.path if parts.path.strip("/") else PATH, "", ""))


def _networks(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise ValueError('must be a list of addresses and networks, such as ["127.0.0.1", "10.0.0.0/8", "unix"]')
    for text in value:
        try:
            if text != "unix":
                ipaddress.ip_network(text if isinstance(text, str) else "")
        except ValueError:
            raise ValueError(f'{text!r} must be an address, a network such as 10.0.0.0/8, or "unix"') from None
    return tuple(value)


def _prefixes(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise ValueError('must be a list of paths, such as ["/orders"]')
    taken: list[str] = []
    for path in sorted(value, key=str):
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise ValueError(f"{path!r} must be a path of letters, digits, - and _, such as /orders")
        if path.split("/")[1] in _RESERVED:
            raise ValueError(f"{path!r} is where the daemon serves something else; such as /orders is free")
        # What stands at a path answers for all that is below it.
        below = next((other for other in taken if f"{path}/".startswith(f"{other}/")), None)
        if below is not None:
            raise ValueError(f"{path!r} must not be below {below!r}")
        taken.append(path)
    return tuple(taken)


def _signals(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset) or set(value) - set(SIGNALS):
        raise ValueError(f"must be a list of some of {', '.join(map(repr, SIGNALS))}; an empty one: none")
    return tuple(name for name in SIGNALS if name in value)


def _field_names(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list | tuple | set | frozenset) else [value]
    if isinstance(value, str) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise ValueError('must be a list of names of fields, such as ["last_login"]')
    return tuple(sorted(names))


def _script(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and _SCRIPT.fullmatch(value)):
        raise ValueError("must be None or the address of a script, such as /static/sockjs.min.js")
    return value


def _retry(value: Any) -> tuple[int, int]:
    try:
        least, most = map(_integer(1, 3_600_000), value)
    except (TypeError, ValueError):
        raise ValueError("must be two ints from 1 to 3600000, the least and the most milliseconds") from None
    if least > most:
        raise ValueError("the first (least milliseconds) must not be above the second (most)")
    return least, most


@dataclass(frozen=True, slots=True)
class Conf:
    """All settings, validated.

    A field is the setting of the same name in capitals, with `LIVEPUSH_` before it; units and meanings are in
    `docs/reference/settings.md`.

    Attributes:
        embedded_password: no setting, but made of SECRET_KEY, so that Django and the daemon's embedded broker agree.

    Raises:
        BadSetting: a value can't be used; it names the setting, the value and what is right.
    """

    broker_url: str = _setting("amqp://guest:guest@127.0.0.1:5672/%2F", _broker_url, secret=True)
    publish_url: str | None = _setting(None, _publish_url, secret=True)
    allowed_origins: tuple[str, ...] | None = _setting(None, _origins)
    anonymous: bool = _setting(False, _flag)
    signals: tuple[str, ...] = _setting(SIGNALS, _signals)
    unrelated_user_fields: tuple[str, ...] = _setting(("last_login",), _field_names)
    auth_database: str = _setting("default", _text)
    auth_threads: int = _setting(4, _integer(1, 64))
    auth_queue: int = _setting(10_000, _integer(1, 1_000_000))
    sweep_seconds: float = _setting(60, _seconds)
    call_threads: int = _setting(4, _integer(1, 64))
    call_queue: int = _setting(1000, _integer(1, 1_000_000))
    call_timeout: float = _setting(10, _seconds)
    calls: int = _setting(8, _integer(1, 1000))
    port: int = _setting(8989, _integer(1, 65535))
    url: str | None = _setting(None, _websocket_url)
    heartbeat: float = _setting(25, _seconds)
    retry: tuple[int, int] = _setting((500, 20_000), _retry)
    hello_timeout: float = _setting(10, _seconds)
    max_connections: int = _setting(10_000, _integer(1, 1_000_000))
    message_bytes: int = _setting(65_536, _integer(256, 16 * _MIB))
    message_depth: int = _setting(32, _integer(4, 256))
    outbound_bytes: int = _setting(_MIB, _integer(4096, 1024 * _MIB))
    subscriptions: int = _setting(100, _integer(1, 100_000))
    message_rate: int = _setting(20, _integer(1, 1_000_000))
    message_burst: int = _setting(40, _integer(1, 1_000_000))
    user_connections: int = _setting(50, _integer(1, 1_000_000))
    address_connections: int = _setting(1000, _integer(1, 1_000_000))
    trusted_proxies: tuple[str, ...] = _setting((), _networks)
    header_bytes: int = _setting(16_384, _integer(1024, _MIB))
    request_timeout: float = _setting(10, _seconds)
    ring_seconds: int = _setting(300, _integer(1, 86_400))
    ring_events: int = _setting(1000, _integer(1, 1_000_000))
    ring_bytes: int = _setting(64 * _MIB, _integer(_MIB, 2**40))
    queue_length: int = _setting(50_000, _integer(100, 10_000_000))
    log_seconds: int = _setting(600, _integer(60, 604_800))
    log_segment_bytes: int = _setting(5_000_000, _integer(10_000, 500_000_000))
    backlog_messages: int = _setting(10_000, _integer(1, 10_000_000))
    backlog_bytes: int = _setting(16 * _MIB, _integer(_MIB, 2**40))
    flush_seconds: float = _setting(5, _patience)
    drain_seconds: float | None = _setting(None, _drain)
    redis_url: str | None = _setting(None, _redis_url, secret=True)
    redis_prefix: str = _setting("livepush", _prefix)
    redis_timeout: float = _setting(1, _redis_timeout)
    presence_grace: float = _setting(5, _patience)
    presence_ttl: int = _setting(15, _integer(5, 3600))
    presence_users: int = _setting(1000, _integer(1, 100_000))
    status_token: str | None = _setting(None, _token, secret=True)
    sockjs_prefixes: tuple[str, ...] = _setting((), _prefixes)
    sockjs_legacy: bool = _setting(False, _flag)
    sockjs_client: str | None = _setting(None, _script)
    embedded_password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        for known in _settings():
            checked = _check(known.name, getattr(self, known.name))
            object.__setattr__(self, known.name, checked)

    @property
    def log_fault(self) -> BadSetting | None:
        """What is wrong with a log that forgets what a process that starts reads of it."""
        least = self.ring_seconds + CHUNK_SECONDS
        if self.log_seconds > least:
            return None
        why = f"must be above LIVEPUSH_RING_SECONDS + {CHUNK_SECONDS} = {least}; raise it, or lower the other"
        return BadSetting(name_of("log_seconds"), self.log_seconds, why)

    def broker(self, url: str | None = None) -> BrokerURL:
        """The broker's address.

        Args:
            url: one that overrides `broker_url`.

        Raises:
            BadURL: `url` can't be used.
        """
        from livepush.broker.url import BrokerURL

        return BrokerURL.parse(self.broker_url if url is None else url, embedded_password=self.embedded_password)

    def publishing_broker(self) -> BrokerURL:
        """The broker's address for `publish`."""
        return self.broker(self.publish_url)


@cache
def conf() -> Conf:
    """The settings of this process, read once.

    Raises:
        BadSetting: the first fault found; `faults` has them all.
    """
    found = faults()
    if found:
        raise found[0]
    key = salted_hmac("livepush.embedded", "password", algorithm="sha256").hexdigest()
    return Conf(**_given(), embedded_password=key)


def setting(name: str) -> Any:
    """One setting, by the name of its field, read without the others; a faulty one, which `faults` tells, is as if it
    was not given."""
    value = given_value(name)
    if value is not ABSENT:
        try:
            return _check(name, value)
        except BadSetting:
            pass
    return _field(name).default


def session_engine() -> str:
    """Django's own setting."""
    engine: str = django_settings.SESSION_ENGINE
    return engine


def faults(environ: Mapping[str, str] = os.environ) -> list[BadSetting]:
    """Every setting that can't be used."""
    found: list[BadSetting] = []
    for name in (each.name for each in _settings()):
        try:
            value = given_value(name, environ)
            if value is ABSENT:
                continue
            _check(name, value)
        except BadSetting as error:
            found.append(error)
        else:
            if name == "auth_database" and value not in django_settings.DATABASES:
                known = ", ".join(sorted(django_settings.DATABASES)) or "none"
                found.append(BadSetting(name_of(name), value, f"must be an alias of DATABASES ({known})"))
    return found


def sessions() -> tuple[str, str]:
    """Django's SESSION_ENGINE and SESSION_CACHE_ALIAS, for the checks."""
    return django_settings.SESSION_ENGINE, django_settings.SESSION_CACHE_ALIAS


def unknown() -> list[str]:
    """Names in Django's settings that look like ours and are none."""
    known = {name_of(each.name) for each in _settings()}
    return sorted(name for name in dir(django_settings) if name.startswith(PREFIX) and name not in known)


def names() -> list[str]:
    """The names of all settings."""
    return [name_of(each.name) for each in _settings()]


def name_of(field_name: str) -> str:
    """The setting of a field of `Conf`."""
    return PREFIX + field_name.upper()


def _settings() -> list[Any]:
    return [each for each in fields(Conf) if "check" in each.metadata]


def given_value(name: str, environ: Mapping[str, str] = os.environ) -> Any:
    """What is given for a field of `Conf`, not yet checked; `ABSENT`: nothing.

    Raises:
        BadSetting: it should come from a file that can't be used.
    """
    setting = name_of(name)
    if _field(name).metadata["secret"]:
        try:
            value = credential(setting, environ)
        except BadCredential as error:
            raise BadSetting(setting, None, str(error), secret=True) from None
        if value is not None:
            return value
    return getattr(django_settings, setting, ABSENT)


def _given() -> dict[str, Any]:
    """The settings that are given, by field name."""
    values = {each.name: given_value(each.name) for each in _settings()}
    return {name: value for name, value in values.items() if value is not ABSENT}


def _field(name: str) -> Any:
    return next(each for each in _settings() if each.name == name)


def _check(name: str, value: object) -> Any:
    metadata = _field(name).metadata
    try:
        return metadata["check"](value)
    except ValueError as error:
        raise BadSetting(name_of(name), value, str(error), metadata["secret"]) from None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:80]}... ({len(text)} characters)"


def _forget(*, setting: str, **_: Any) -> None:
    """Django's `override_settings` changes settings in the middle of a test run."""
    if setting.startswith(PREFIX) or setting in ("SECRET_KEY", "DATABASES"):
        conf.cache_clear()


setting_changed.connect(_forget, dispatch_uid="livepush.conf")

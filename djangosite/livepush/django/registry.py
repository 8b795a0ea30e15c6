"""Asking who is present: on a channel, connected at all, and what processes there are.

    presence("orders")              the primary keys of the users who are on a channel that declares `presence`
    online([anna, 7, 8])            those of them who are connected, on whatever channel
    stats()                         the daemon processes, and how many users there are

They ask Redis itself, where the daemons keep it (`LIVEPUSH_REDIS_URL`), so they cost one or two round trips and no
daemon has to answer; without Redis each daemon keeps its own presence, and nobody can be asked. Blocking: each call to
Redis has `LIVEPUSH_REDIS_TIMEOUT` seconds.

What they answer is what Redis knows at this moment: a user who has closed his browser is still there for
`LIVEPUSH_PRESENCE_GRACE`, those of a process that was killed for `LIVEPUSH_PRESENCE_TTL`.

Bounds: connections to Redis as many as threads that ask at once, kept by redis-py's pool, which a fork renews.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.contrib.auth import get_user_model
from django.core.signals import setting_changed

from livepush.broker import presencestore as store
from livepush.broker.errors import BadURL
from livepush.broker.redisurl import RedisURL
from livepush.django.channels import declared
from livepush.django.conf import PREFIX, conf
from livepush.django.errors import PresenceUnavailable, UndeclaredChannel

PARTS = 1000
"""A process that is gone is forgotten in so many parts at most by one question; each is half a thousand places."""


@dataclass(frozen=True, slots=True)
class Node:
    """A daemon process.

    Attributes:
        name: unique among all that there ever were.
        host: the machine.
        pid: on it.
        started: seconds since 1970.
        connections: that it had at its last sign of life.
    """

    name: str
    host: str
    pid: int
    started: int
    connections: int


@dataclass(frozen=True, slots=True)
class Stats:
    """All processes together.

    Attributes:
        users: who are connected, each once.
        channels: how many users are on each channel that declares `presence` and is not empty.
        nodes: the processes.
    """

    users: int
    channels: dict[str, int]
    nodes: tuple[Node, ...]


class Registry:
    """The presence of all daemons, as Redis has it.

    Args:
        url: where Redis is.
        prefix: of all keys.
        timeout: seconds, of connecting and of each call.

    Raises:
        PresenceUnavailable: redis-py is not installed.
    """

    def __init__(self, url: RedisURL, prefix: str, timeout: float) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise PresenceUnavailable("asking Redis needs redis-py: pip install 'livepush[redis]'") from None
        self._url, self._base, self._errors = url, store.base_of(prefix), redis.RedisError
        tls: dict[str, Any] = {"ssl": url.tls}
        if url.tls:
            tls |= {"ssl_ca_certs": url.cacertfile, "ssl_certfile": url.certfile, "ssl_keyfile": url.keyfile}
            tls["ssl_check_hostname"] = True
        self._redis = redis.Redis(
            host=url.host,
            port=url.port,
            db=url.database,
            username=url.user,
            password=url.password,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),  # its own would make of one time limit several
            protocol=2,
            **tls,
        )

    def users_on(self, channel: str) -> list[Any]:
        """The primary keys of those who are on a channel, as browsers are shown them.

        Raises:
            PresenceUnavailable: Redis can't be asked.
        """
        self._reap()
        ((_, _, members),) = self._ask(store.ROLLS, "1000000000", channel)
        return [json.loads(member) for member in members or ()]

    def connected(self, members: Sequence[str]) -> list[bool]:
        """Whether each of these users, as JSON texts, is connected.

        Raises:
            PresenceUnavailable: Redis can't be asked.
        """
        self._reap()
        found: list[bool] = []
        for begin in range(0, len(members), store.PLACES):
            found += self._ask(store.ONLINE, *members[begin : begin + store.PLACES])
        return found

    def stats(self) -> Stats:
        """The processes.

        Raises:
            PresenceUnavailable: Redis can't be asked.
        """
        self._reap()
        users, channels, nodes = self._ask(store.STATS)
        return Stats(users, dict(channels or ()), tuple(_node(name, about) for name, about in nodes or ()))

    def close(self) -> None:
        """Ends its connections; the next question makes new ones."""
        self._redis.close()

    def _reap(self) -> None:
        """Forgets the processes that are gone: where none is left, nobody else does."""
        for _ in range(PARTS):
            found = self._ask(store.REAP)
            if found == store.UNKNOWN:
                raise PresenceUnavailable(
                    f"{self._url.safe} knows of no daemon under the prefix {self._base}: start one with the same "
                    "LIVEPUSH_REDIS_URL and LIVEPUSH_REDIS_PREFIX"
                )
            if found == store.YOUNG:
                raise PresenceUnavailable(
                    f"{self._url.safe} is new, or has lost what it knew, and the daemons are telling it anew: "
                    f"ask again in {store.YOUNG_MS / 1000:g} s"
                )
            if not found:
                return

    def _ask(self, script: str, *arguments: str) -> Any:
        try:
            answer: Any = self._redis.eval(script, 1, self._base, *arguments)  # 2 KB; no state here, and no right more
            return json.loads(answer)
        except self._errors as error:
            # redis-py's texts hold addresses and what Redis says, and no password.
            text = f"{self._url.safe} can't be asked ({type(error).__name__}: {error})"
            raise PresenceUnavailable(f"{text}: look at Redis, and at LIVEPUSH_REDIS_URL") from error


def presence(channel: str) -> set[Any]:
    """Who is on a channel.

    Returns:
        Their primary keys, of the user model's own type.

    Raises:
        UndeclaredChannel: no declaration covers it.
        ValueError: its declaration has no `presence = True`.
        PresenceUnavailable: there is no Redis, or it can't be asked.
    """
    declaration = declared.find(channel)
    if declaration is None:
        raise UndeclaredChannel(channel, (str(each.name) for each in declared.declarations))
    if not declaration.presence:
        raise ValueError(
            f"channel {channel!r}: {declaration.__qualname__} keeps no presence: set presence = True there"
        )
    to_python = get_user_model()._meta.pk.to_python
    return {to_python(key) for key in site_registry().users_on(channel)}


def online(users: Iterable[Any]) -> set[Any]:
    """Which of these users are connected, on whatever channel.

    Args:
        users: instances of the user model or primary keys, as many as you like: 500 a round trip.

    Returns:
        The primary keys of those who are.

    Raises:
        PresenceUnavailable: there is no Redis, or it can't be asked.
    """
    keys = [getattr(user, "pk", user) for user in users]
    keys = list(dict.fromkeys(key for key in keys if key is not None))  # an anonymous visitor has none
    found = site_registry().connected([store.member_of(key) for key in keys])
    return {key for key, is_connected in zip(keys, found, strict=True) if is_connected}


def stats() -> Stats:
    """The daemon processes, how many users they have, and how many are on each channel with presence.

    Raises:
        PresenceUnavailable: there is no Redis, or it can't be asked.
    """
    return site_registry().stats()


@cache
def site_registry() -> Registry:
    """The site's own, made when something is asked.

    Raises:
        PresenceUnavailable: there is none.
    """
    known = conf()
    if known.redis_url is None:
        raise PresenceUnavailable(
            "LIVEPUSH_REDIS_URL is not set: without it each daemon keeps its own presence, and only pages are told"
        )
    url = RedisURL.parse(known.redis_url)
    try:
        url.ssl_context()
    except BadURL as error:
        raise PresenceUnavailable(str(error)) from None
    return Registry(url, known.redis_prefix, known.redis_timeout)


def _node(name: str, about: str) -> Node:
    told = json.loads(about)
    host, pid, started, connections = (told.get(each) for each in ("host", "pid", "started", "connections"))
    return Node(name, str(host or ""), int(pid or 0), int(started or 0), int(connections or 0))


def _forget(*, setting: str, **_: Any) -> None:
    """Django's `override_settings` changes settings in the middle of a test run."""
    if setting.startswith(PREFIX):
        site_registry.cache_clear()


setting_changed.connect(_forget, dispatch_uid="livepush.registry")

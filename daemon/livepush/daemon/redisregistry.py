"""The registry of many processes, in Redis; how it lies there is in `livepush.broker.presencestore`.

One connection, made when something is asked and there is none: so whoever asks again after a failure also connects
again, and the pace of asking is the pace of reconnecting. Connecting with its login, and each call, has
`timeout_seconds`; then the connection is dropped, because an answer that comes late may not be taken for another's.
Nothing is asked twice here. What failed may have been done, and `enroll` puts that right.

txredisapi's own pool would go on waiting for a server that does not answer, give up for good after one wrong password,
and log what it pleases; its protocol is used without it. Importing it installs Twisted's default reactor, so that is
done when the first connection is made.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004 - Twisted's, of addTimeout
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from livepush.broker import presencestore as store
from livepush.broker.endpoint import endpoint_for
from livepush.broker.errors import ConnectionFailed
from livepush.broker.redisurl import RedisURL
from livepush.daemon.registry import NotEnrolled, Place, Pulse, RegistryUnavailable, Roll

T = TypeVar("T")

_LOGIN = ("WRONGPASS", "NOAUTH", "NOPERM", "invalid password", "invalid username-password", "without any password")


class RedisRegistry:
    """As `Registry`.

    Args:
        reactor: connections and timers.
        url: where Redis is.
        node: names this process there; no other may ever have had the name.
        prefix: of all keys; sites that share a database of Redis each have their own.
        ttl_seconds: without a pulse for so long this process counts as gone.
        timeout_seconds: of each call, and of connecting.
        endpoint: instead of the one that the address says.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        url: RedisURL,
        node: str,
        *,
        prefix: str = "livepush",
        ttl_seconds: float = 15.0,
        timeout_seconds: float = 1.0,
        endpoint: IStreamClientEndpoint | None = None,
    ) -> None:
        self._reactor, self._url, self._node = reactor, url, node
        self._base = store.base_of(prefix)
        self._ttl, self._timeout, self._endpoint = str(int(ttl_seconds * 1000)), timeout_seconds, endpoint
        self._protocol: Any = None
        self._closed = False

    async def enroll(self, places: Collection[Place]) -> None:
        """As `Registry.enroll`; what the store holds already is not sent."""
        held = {_place(text) for text in await self._ask(store.ENROLL, self._node, self._ttl)}
        wanted = set(places)
        await self.move(list(wanted - held), list(held - wanted))

    async def move(self, taken: Sequence[Place], given_up: Sequence[Place]) -> None:
        """As `Registry.move`, `presencestore.PLACES` at a time."""
        for begin in range(0, len(taken), store.PLACES):
            part = taken[begin : begin + store.PLACES]
            await self._ask(store.MOVE, self._node, str(len(part)), *_texts(part))
        for begin in range(0, len(given_up), store.PLACES):
            await self._ask(store.MOVE, self._node, "0", *_texts(given_up[begin : begin + store.PLACES]))

    async def pulse(self, since: int, about: Mapping[str, object]) -> Pulse:
        """As `Registry.pulse`; also lets go of a part of a process that is gone."""
        revision, changed, young = await self._ask(store.PULSE, self._node, self._ttl, str(since), json.dumps(about))
        return Pulse(revision, None if changed is None else frozenset(changed), bool(young))

    async def rolls(self, channels: Sequence[str], most: int) -> Mapping[str, Roll]:
        """As `Registry.rolls`, `presencestore.CHANNELS` at a time."""
        found = {}
        for begin in range(0, len(channels), store.CHANNELS):
            part = channels[begin : begin + store.CHANNELS]
            answer = await self._ask(store.ROLLS, str(most), *part)
            for channel, (revision, count, members) in zip(part, answer, strict=True):
                found[channel] = Roll(revision, None if members is None else frozenset(members), count)
        return found

    async def close(self) -> None:
        """Ends the connection. Nothing can be asked any more."""
        self._closed = True
        self._drop()

    # -- the connection ------------------------------------------------------------------------------------------------

    async def _ask(self, script: str, *arguments: str) -> Any:
        """What a script answers.

        Raises:
            RegistryUnavailable: there is no answer in time, or it is an error.
            NotEnrolled: it says so.
        """
        if self._closed:
            raise RegistryUnavailable("it was closed")
        try:
            protocol = self._protocol
            if protocol is None or not protocol.connected:
                protocol = await self._bounded(Deferred.fromCoroutine(self._connect()))
            text = await self._bounded(protocol.eval(script, [self._base], list(arguments)))
            answer = json.loads(text)
        except Exception as problem:
            # What endpoints, OpenSSL, txredisapi and a server that speaks something else raise has no common class.
            lost: Failure | None = getattr(self._protocol, "lost", None)
            self._drop()
            cause = problem if lost is None or lost.value is None else lost.value
            raise RegistryUnavailable(_cause(self._url, cause, self._timeout)) from None
        if answer == store.UNKNOWN:
            raise NotEnrolled
        return [] if answer == {} else answer  # Lua knows no empty list

    async def _connect(self) -> Any:
        endpoint = self._endpoint or endpoint_for(self._reactor, self._url)
        protocol: Any = await endpoint.connect(_Client())
        self._protocol = protocol  # whoever drops it now ends it
        if self._url.password is not None:
            await protocol.auth(self._url.password, self._url.user)
        if self._url.database:
            await protocol.select(self._url.database)
        return protocol

    def _bounded(self, asked: Deferred[T]) -> Deferred[T]:
        return asked.addTimeout(self._timeout, self._reactor)

    def _drop(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None and protocol.transport is not None:
            protocol.transport.abortConnection()


class _Client(Factory):
    noisy = False

    def buildProtocol(self, _address: IAddress | None) -> Any:
        from txredisapi import RedisProtocol

        class Client(RedisProtocol):  # type: ignore[misc]  # it has no stubs
            lost: Failure | None = None

            def connectionLost(self, why: Failure) -> None:
                self.lost = why  # what it hands on to who waits says nothing of TLS
                RedisProtocol.connectionLost(self, why)

        protocol = Client(convertNumbers=False)
        protocol.factory = self
        return protocol


def _texts(places: Sequence[Place]) -> list[str]:
    return [store.place_of(channel, member) for channel, member in places]


def _place(text: str) -> Place:
    channel, _, member = text.partition(" ")
    return channel, member


def _cause(url: RedisURL, problem: BaseException, timeout: float) -> str:
    """What was wrong, and what to do about it, without what an address or an answer may hold of a password."""
    where = url.safe
    kind, text = type(problem).__name__, str(problem)
    if isinstance(problem, ConnectionFailed):
        return f"{where}: {problem}"
    if isinstance(problem, TimeoutError):
        return f"{where} does not answer within {timeout:g} s: look at it, and at the network (LIVEPUSH_REDIS_TIMEOUT)"
    if isinstance(problem, error.ConnectionRefusedError):
        return f"{where}: nothing listens there: start Redis, or correct LIVEPUSH_REDIS_URL"
    if isinstance(problem, error.DNSLookupError | error.UnknownHostError):
        return f"{where}: no such host is known: correct LIVEPUSH_REDIS_URL, or the name service"
    if kind == "ResponseError" and any(word in text for word in _LOGIN):
        return f"{where} refuses the user, the password or a right of his: correct LIVEPUSH_REDIS_URL"
    if kind in ("ResponseError", "ScriptDoesNotExist"):
        return f"{where} refuses a command: {text[:200]}"
    if kind == "ConnectionError" or isinstance(problem, error.ConnectionDone | error.ConnectionLost):
        return f"{where}: the connection was lost: the log of Redis says why, if it was Redis"
    if isinstance(problem, TLSError | VerificationError):
        return f"{where}: TLS failed: the certificate must name the host and be signed by a known authority"
    if isinstance(problem, ValueError | TypeError):
        return f"{where} answers what no Redis does: correct LIVEPUSH_REDIS_URL"
    return f"{where} can't be asked ({kind})"

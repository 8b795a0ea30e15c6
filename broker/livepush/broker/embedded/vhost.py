"""The virtual host: exchanges and queues by name, and who may do what with them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import NoReturn

from twisted.internet.interfaces import IReactorTime

from livepush.broker.embedded.limits import Ledger, Limits
from livepush.broker.embedded.queue import Queue
from livepush.broker.embedded.refusal import (
    ACCESS_REFUSED,
    COMMAND_INVALID,
    NOT_FOUND,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    RESOURCE_LOCKED,
    ChannelRefused,
    ConnectionRefused,
)
from livepush.broker.embedded.routing import MATCHERS, Exchange
from livepush.broker.embedded.stream import STREAM, AnyQueue, Stream, check_declaration

NAME = "/"

_RESERVED = "amq."
_BUILT_IN = {"": "direct", "amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic"}


class VirtualHost:
    """The one that there is, `/`. Every method raises what a client is to be told."""

    def __init__(self, limits: Limits, ledger: Ledger, clock: IReactorTime) -> None:
        self._limits, self._ledger, self._clock = limits, ledger, clock
        self.exchanges: dict[str, Exchange[AnyQueue]] = {}
        for name, kind in _BUILT_IN.items():
            self.exchanges[name] = Exchange(name, kind, durable=True)
        self.queues: dict[str, AnyQueue] = {}

    # --- exchanges

    def exchange(self, name: str) -> Exchange[AnyQueue]:
        """404 if there is none."""
        found = self.exchanges.get(name)
        if found is None:
            _missing("exchange", name)
        return found

    def declare_exchange(
        self,
        name: str,
        kind: str,
        *,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Mapping[str, object] | None,
    ) -> None:
        """Makes it, or sees that there is an equal one."""
        if name == "":
            raise ChannelRefused(ACCESS_REFUSED, "operation not permitted on the default exchange")
        if kind == "headers" or internal or arguments:
            raise ConnectionRefused(
                NOT_IMPLEMENTED, f"type, flags or arguments of exchange '{name}' in the embedded broker"
            )
        if kind not in MATCHERS:
            raise ConnectionRefused(COMMAND_INVALID, f"unknown exchange type '{kind}'")
        found = self.exchanges.get(name)
        if found is not None:
            same = {"type": found.kind == kind, "durable": found.durable == durable}
            same["auto_delete"] = found.auto_delete == auto_delete
            for argument, equal in same.items():
                if not equal:
                    _inequivalent(argument, "exchange", name)
            return
        if name.startswith(_RESERVED):
            _reserved("exchange", name)
        if len(self.exchanges) >= self._limits.exchanges:
            _too_many("exchange", name, self._limits.exchanges)
        self.exchanges[name] = Exchange(name, kind, durable=durable, auto_delete=auto_delete)

    def delete_exchange(self, name: str, *, if_unused: bool) -> None:
        """Takes it away; one that is not there is gone already."""
        if name == "" or name.startswith(_RESERVED):
            raise ChannelRefused(ACCESS_REFUSED, f"operation not permitted on exchange '{name}'")
        found = self.exchanges.get(name)
        if found is not None:
            if if_unused and len(found):
                raise ChannelRefused(PRECONDITION_FAILED, f"exchange '{name}' in vhost '{NAME}' in use")
            del self.exchanges[name]

    # --- queues

    def queue(self, name: str, user: object) -> AnyQueue:
        """404 if there is none, 405 if it is another connection's own."""
        found = self.queues.get(name)
        if found is None:
            _missing("queue", name)
        if found.owner not in (None, user):
            why = f"cannot obtain exclusive access to locked queue '{name}' in vhost '{NAME}'"
            raise ChannelRefused(RESOURCE_LOCKED, why)
        return found

    def declare_queue(
        self,
        name: str,
        user: object,
        *,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: Mapping[str, object],
    ) -> AnyQueue:
        """Makes it, or sees that there is an equal one. An empty name gets one of the broker's."""
        if name in self.queues:
            found = self.queue(name, user)
            same = {"durable": found.durable == durable, "auto_delete": found.auto_delete == auto_delete}
            same["exclusive"] = (found.owner is not None) == exclusive
            for key in sorted({*found.arguments, *arguments}):
                same[str(key)] = found.arguments.get(key) == arguments.get(key)
            for argument, equal in same.items():
                if not equal:
                    _inequivalent(argument, "queue", name)
            return found
        if name.startswith(_RESERVED):
            _reserved("queue", name)
        if len(self.queues) >= self._limits.queues:
            _too_many("queue", name, self._limits.queues)
        name = name or f"amq.gen-{secrets.token_urlsafe(16)}"
        made: AnyQueue
        if arguments.get("x-queue-type") == STREAM:
            check_declaration(name, durable=durable, exclusive=exclusive, auto_delete=auto_delete)
            made = Stream(name, self._ledger, self._clock, arguments)
        else:
            owner = user if exclusive else None
            made = Queue(name, self._ledger, durable=durable, auto_delete=auto_delete, owner=owner, arguments=arguments)
        self.queues[made.name] = made
        default = self.exchanges[""]
        default.bind(made, made.name)
        return made

    def delete_queue(self, queue: AnyQueue) -> None:
        """Takes it and its bindings away, once."""
        if self.queues.get(queue.name) is queue:
            del self.queues[queue.name]
            for exchange in list(self.exchanges.values()):
                self._unbind(exchange, queue, None)
            queue.close()

    def disown(self, user: object) -> None:
        """A connection ended: its exclusive queues go."""
        for queue in [one for one in self.queues.values() if one.owner is user]:
            self.delete_queue(queue)

    # --- bindings

    def bind(self, queue: AnyQueue, exchange: str, key: str) -> None:
        """A second binding like one that is there changes nothing."""
        found = self._bindable(exchange)
        if not found.bound(queue, key):
            # Every queue's binding to the default exchange is counted by the bound on queues.
            if sum(len(one) for one in self.exchanges.values() if one.name) >= self._limits.bindings:
                _too_many("binding", key, self._limits.bindings)
            found.bind(queue, key)

    def unbind(self, queue: AnyQueue, exchange: str, key: str) -> None:
        """A binding that is not there is gone already."""
        self._unbind(self._bindable(exchange), queue, key)

    def _bindable(self, exchange: str) -> Exchange[AnyQueue]:
        if exchange == "":
            raise ChannelRefused(ACCESS_REFUSED, "operation not permitted on the default exchange")
        return self.exchange(exchange)

    def _unbind(self, exchange: Exchange[AnyQueue], queue: AnyQueue, key: str | None) -> None:
        if exchange.unbind(queue, key) and exchange.auto_delete and not len(exchange):
            self.exchanges.pop(exchange.name, None)


def _missing(what: str, name: str) -> NoReturn:
    raise ChannelRefused(NOT_FOUND, f"no {what} '{name}' in vhost '{NAME}'")


def _reserved(what: str, name: str) -> NoReturn:
    raise ChannelRefused(ACCESS_REFUSED, f"{what} name '{name}' contains reserved prefix 'amq.*'")


def _inequivalent(argument: str, what: str, name: str) -> NoReturn:
    raise ChannelRefused(PRECONDITION_FAILED, f"inequivalent arg '{argument}' for {what} '{name}' in vhost '{NAME}'")


def _too_many(what: str, name: str, limit: int) -> NoReturn:
    raise ChannelRefused(PRECONDITION_FAILED, f"cannot declare {what} '{name}': the limit of {limit} is reached")

"""Saying what happened: `publish()` and its `Publication`.

publish()            checks and encodes everything at the call; errors name the value and the remedy
  no transaction     handed to the publisher at once
  in a transaction   handed over when it commits: a rollback, also to a savepoint, publishes nothing
publisher            numbers it (then `Publication.id` is known) and gets it confirmed in the background
Publication.result   waits for the confirm
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError
from django.utils.connection import ConnectionDoesNotExist

from livepush.broker.backlog import Draft
from livepush.broker.envelope import Event, Json, Kind, Only, encode_event
from livepush.broker.errors import BadPayload
from livepush.broker.names import check_channel, check_type, event_key, live_key
from livepush.django.actor import skip_of, user_name
from livepush.django.channels import Registry, audiences_of, declared
from livepush.django.commit import Waiting, at_commit, is_waiting
from livepush.django.errors import RolledBack, TransactionOpen, UndeclaredChannel, UnknownAudience
from livepush.django.failures import Failures
from livepush.django.outlet import Outlet, SupportsPublish, outlet
from livepush.django.signals import publication_failed

KEY_CHARACTERS = 180
MAX_VERSION = 2**63 - 1

View = Json | None
Views = Mapping[str, View | Callable[[], View]]

_log = logging.getLogger("livepush")
_default = DjangoJSONEncoder().default

failures = Failures(_log)
"""What this process could not publish."""

os.register_at_fork(after_in_child=failures.renew_lock)


class Publication(Waiting):
    """One event on its way. Made by `publish` only.

    Attributes:
        channel: the channel's name.
        type: the event's type.
    """

    __slots__ = ("_connection", "_draft", "_publisher", "_ticket", "channel", "type")

    def __init__(self, publisher: SupportsPublish, draft: Draft, type: str) -> None:  # noqa: A002 - the protocol's word
        self.channel, self.type = draft.channel, type
        self._publisher = publisher
        self._draft: Draft | None = draft
        self._ticket: Future[str | None] | None = None
        self._connection: BaseDatabaseWrapper | None = None

    @property
    def id(self) -> str | None:
        """The event's id, `<publisher>-<number>`; None until it is numbered, which is after the commit."""
        return getattr(self._ticket, "id", None)

    def result(self, timeout: float = 5) -> str | None:
        """Waits until the broker has confirmed it.

        A view has no reason to call this; a command or a task may. It blocks: never call it in a coroutine.

        Args:
            timeout: seconds.

        Returns:
            The id; None for `live`, which has none.

        Raises:
            TransactionOpen: the transaction that it waits for has not been committed.
            RolledBack: that transaction was rolled back.
            TimeoutError: no confirm in time. It may still come.
            PublishError: it will not reach the log; the class tells why.
        """
        ticket = self._ticket
        if ticket is None:
            if self._connection is not None and is_waiting(self._connection, self):
                raise TransactionOpen(
                    f"{self} waits for the commit of its transaction on {self._connection.alias!r}: "
                    "ask for the result after the atomic block"
                )
            raise RolledBack(f"{self} was not published: its transaction was rolled back")
        try:
            return ticket.result(timeout)
        except TimeoutError:
            raise TimeoutError(f"{self} has not been confirmed by the broker within {timeout} s") from None

    def __repr__(self) -> str:
        return f"<Publication {self.channel} {self.type} {self.id or 'without a number'}>"

    def _start(self, connection: BaseDatabaseWrapper | None) -> None:
        """Hands it over: now without a connection, else when that connection's transaction commits."""
        if connection is None:
            self.hand_over()
            return
        self._connection = connection
        at_commit(connection, self)

    def hand_over(self) -> None:
        """The commit is there, or there is nothing to wait for."""
        draft, self._draft = self._draft, None
        if draft is not None:
            self._ticket = self._publisher.publish(draft)
            self._ticket.add_done_callback(self._settled)

    def _settled(self, ticket: Future[str | None]) -> None:
        error = None if ticket.cancelled() else ticket.exception()
        if error is not None:
            failures.add(str(self), error)
            publication_failed.send_robust(sender=Publication, publication=self, error=error)


class Publishing:
    """`publish` and what it works with: the declarations, and the way to the broker."""

    def __init__(self, registry: Registry, outlet: Outlet) -> None:
        self._registry, self._outlet = registry, outlet

    def publish(
        self,
        channel: str,
        type: str,  # noqa: A002
        data: Mapping[str, Any],
        *,
        views: Views | None = None,
        only: Any = None,
        skip: Any = None,
        key: str | int | UUID | None = None,
        version: int | None = None,
        durable: bool = False,
        live: bool = False,
        using: str | None = None,
    ) -> Publication:
        """Says what happened, to those who may know it, as soon as the transaction is committed.

        It asks the database nothing and never waits for the broker, so it may be called anywhere: views (sync and
        async), model methods, tasks, commands. What it is given is encoded at the call.

        Args:
            channel: a declared channel's name, or a user's own (`user_channel(user)`).
            type: what happened, as a name: words of A-Z a-z 0-9 _ - joined by dots.
            data: a dict of what every audience may see. Dates, decimals, UUIDs and lazy texts are encoded as Django
                does; 256 KiB at most, all views counted.
            views: by audience, what it sees beside `data`: a dict, a callable that returns one (called once, now), or
                None for an audience that is told nothing. An audience that is not named sees `data`.
            only: whom to tell: audience names and users, one or several. Others are told nothing.
            skip: whom not to tell, because he knows: a request (its tab, else its user), `self.caller` in
                `Channel.receive`, or a user.
            key: what the event is about, within the channel: a later event with the same key may stand for it.
            version: of the thing that `key` names: whoever has seen a later one drops it. Events of different
                processes may arrive in either order.
            durable: written to the outbox, a table, in the transaction itself, so that it outlives this process; the
                relay (`manage.py livepush relay`) publishes it. It costs an INSERT.
            live: at most once, never kept or sent again: for what the next second makes worthless.
            using: the database whose commit to wait for. None: `default` if it is in a transaction, else the single
                database that is.

        Raises:
            BadName, UndeclaredChannel, UnknownAudience, BadPayload, TypeError, ValueError: an argument can't be used;
                it names the value and the remedy.
            django.db.transaction.TransactionManagementError: the transaction is broken and can only be rolled back, or
                it is managed by hand, so that its commit can't be seen.
            BadSetting: the settings of the broker can't be used.
            OutboxMissing: `durable`, and the database has no outbox; `manage.py migrate` makes it.
        """
        for name, flag in (("durable", durable), ("live", live)):
            if not isinstance(flag, bool):
                raise TypeError(f"{name}: must be True or False, not {_kind(flag)}")
        connection = _transaction(using)
        check_channel(channel)
        check_type(type)
        known = self._audiences(channel)
        if known is None and (views is not None or only is not None):
            raise ValueError(f"channel {channel!r} is a user's own and has one listener: put all into data")
        if durable and live:
            raise ValueError("durable and live: an event is either kept until it is published, or worth nothing later")
        if version is not None and key is None:
            raise ValueError(f"version {version!r}: says nothing without a key; give key=str(pk) of what it is about")
        if not isinstance(data, dict):
            raise BadPayload("data", f'must be a dict, not {_kind(data)}; wrap it, as in {{"value": ...}}')
        event = Event(
            channel,
            type,
            data,
            views=_views(views, channel, known or ()),
            only=None if only is None else _only(only, channel, known or ()),
            skip=skip_of(skip),
            key=None if key is None else _key(key),
            version=None if version is None else _version(version),
        )
        kind, routing_key = (Kind.LIVE, live_key) if live else (Kind.EVENT, event_key)
        draft = Draft(kind, routing_key(channel, type), encode_event(event, _default), channel)
        publisher: SupportsPublish = self._outlet.publisher()
        if durable:
            publisher = _written(draft, connection, publisher)
        publication = Publication(publisher, draft, type)
        publication._start(connection)
        return publication

    def _audiences(self, channel: str) -> tuple[str, ...] | None:
        """The audiences of a declared channel; None for a user's own."""
        if channel.startswith("user."):
            return None
        declaration = self._registry.find(channel)
        if declaration is None:
            raise UndeclaredChannel(channel, [pattern.text for pattern, _ in self._registry.readable()])
        return tuple(each.name for each in audiences_of(declaration))


publish = Publishing(declared, outlet).publish


def _written(draft: Draft, connection: BaseDatabaseWrapper | None, publisher: SupportsPublish) -> SupportsPublish:
    """The row of a durable event, in place of the publisher that its relay will be."""
    from livepush.django.durable import Written  # models, which this module may be imported before
    from livepush.django.outbox import Outbox, outbox_alias

    return Written(Outbox(outbox_alias(None if connection is None else connection.alias)), draft, publisher)


def _transaction(using: str | None) -> BaseDatabaseWrapper | None:
    """The connection whose commit is to be waited for; None: there is no transaction."""
    if using is not None:
        try:
            connection = connections[using]
        except ConnectionDoesNotExist:
            known = ", ".join(sorted(connections))
            raise ValueError(f"using {using!r}: there is no such database; DATABASES has {known}") from None
        candidates: Sequence[BaseDatabaseWrapper] = [connection]
    else:
        candidates = connections.all(initialized_only=True)
    inside = [each for each in candidates if each.in_atomic_block or _is_manual(each)]
    found = next((each for each in inside if each.alias == DEFAULT_DB_ALIAS), None)
    if found is None and len(inside) > 1:
        names = ", ".join(sorted(each.alias for each in inside))
        raise ValueError(f"using None: transactions are open on {names}; say whose commit to wait for, as using=...")
    if found is None and inside:
        found = inside[0]
    if found is not None:
        _check_transaction(found)
    return found


def _is_manual(connection: BaseDatabaseWrapper) -> bool:
    """Whether it is open with autocommit off. `get_autocommit` would open it."""
    return connection.connection is not None and not connection.autocommit


def _check_transaction(connection: BaseDatabaseWrapper) -> None:
    where = f"the transaction on {connection.alias!r}"
    if not connection.in_atomic_block:
        why = f"{where} is managed by hand (autocommit is off), so its commit can't be seen; use transaction.atomic()"
        raise TransactionManagementError(why)
    if connection.needs_rollback or connection.closed_in_transaction:
        why = (
            f"{where} is broken by an earlier error and can only be rolled back, so nothing can be published in it; "
            "publish after the atomic block, or wrap what may fail in an atomic block of its own"
        )
        raise TransactionManagementError(why) from getattr(connection, "rollback_exc", None)


def _views(views: Views | None, channel: str, known: tuple[str, ...]) -> dict[str, View]:
    if views is None:
        return {}
    if not isinstance(views, Mapping):
        raise TypeError(f"views: must be a dict of audience names, not {_kind(views)}")
    for audience in views:
        if audience not in known:
            raise UnknownAudience("views", audience, channel, known)
    shown: dict[str, View] = {}
    for audience, given in views.items():
        view = given() if callable(given) else given
        if view is not None and not isinstance(view, dict):
            raise BadPayload(f"views[{audience!r}]", f"must be a dict or None, not {_kind(view)}")
        shown[audience] = view
    return shown


def _only(only: Any, channel: str, known: tuple[str, ...]) -> Only:
    single = isinstance(only, str) or hasattr(only, "is_authenticated") or not isinstance(only, Iterable)
    audiences: set[str] = set()
    users: set[str] = set()
    for each in [only] if single else only:
        if not isinstance(each, str):
            user = user_name("only", each)
            if user is None:
                raise ValueError("only: an anonymous visitor can't be told apart from others; name an audience")
            users.add(user)
        elif each in known:
            audiences.add(each)
        else:
            raise UnknownAudience("only", each, channel, known)
    return Only(frozenset(audiences), frozenset(users))


def _key(key: object) -> str:
    text = str(key) if isinstance(key, str | int | UUID) and not isinstance(key, bool) else ""
    if not text or len(text) > KEY_CHARACTERS or not text.isprintable():
        shown = repr(key) if len(repr(key)) <= 100 else f"of {len(repr(key))} characters"
        raise ValueError(
            f"key {shown}: must be a str of 1 to {KEY_CHARACTERS} printable characters (an int or UUID is made one), "
            "such as str(pk)"
        )
    return text


def _version(version: object) -> int:
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version <= MAX_VERSION:
        raise ValueError(f"version {version!r}: must be an int from 0 to 2**63 - 1 that grows with each change")
    return version


def _kind(value: object) -> str:
    return type(value).__name__

"""Telling the daemons that what Django knows of a user may have changed: they look again before they deliver more.

    identity_changed(user)     one user: blocked, another password, another permission of his own
    identity_changed()         anybody: what can't be named
    revoke(user, channel)      one channel: the rule of `Channel.allows`, or what it reads, says something else now
    disconnect(user, why)      his connections end, whatever the rules say; or those of one session

`livepush.django.receivers` calls the first one when Django itself changes a user. What Django does not see, a site
says: the table that an object-level rule reads, rights that come out of LDAP.

It goes out at the commit, in its place among the events of the transaction. A daemon acts when it has the message,
whatever else waits; what it then reads is committed. Several that say the same are one while they wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any
from weakref import WeakSet

from django.contrib.auth import get_user_model
from django.db import connections, router

from livepush.broker.backlog import Draft
from livepush.broker.envelope import DISCONNECT, IDENTITY, LOGOUT, REVOKE, WHY_BYTES, Control, session_hash
from livepush.broker.errors import Unroutable
from livepush.broker.names import check_channel
from livepush.django.actor import user_name
from livepush.django.channels import Registry, declared
from livepush.django.commit import Waiting, at_commit, last_waiting
from livepush.django.conf import session_engine
from livepush.django.errors import UndeclaredChannel
from livepush.django.outlet import Outlet, outlet
from livepush.django.publication import failures
from livepush.django.sessions import have_keys
from livepush.django.signals import publication_failed

USERS = 1000
"""Of one piece of a transaction, that are named one by one; if it concerns more, it is told of anybody."""

DISCONNECTED = "disconnected by the site"

_EVERYBODY = Control(IDENTITY)

_log = logging.getLogger("livepush")


class Controls:
    """Publishes control messages, at the commit."""

    def __init__(self, outlet: Outlet, registry: Registry = declared) -> None:
        self._outlet, self._registry = outlet, registry
        self._watched: WeakSet[Future[str | None]] = WeakSet()

    def identity_changed(self, user: Any = None, *, using: str | None = None) -> None:
        """Says that what Django knows of a user may have changed. It asks the database nothing and never waits.

        In a transaction that is managed by hand (autocommit off) the commit can't be seen: it goes out now, and a
        daemon may look before the commit. Call it after that.

        Args:
            user: an instance of the user model, or a primary key; None: anybody.
            using: the database whose commit to wait for. None: where the routers write users.

        Raises:
            BadSetting: the settings of the broker can't be used.
        """
        anybody, name = _named(user)
        if anybody or name is not None:  # not an anonymous visitor: nobody knows anything of him
            self.tell(Control(IDENTITY, name), using=using)

    def revoke(self, user: Any, channel: str, *, using: str | None = None) -> None:
        """Has it asked anew whether a user may listen to a channel; until that is known he hears nothing.

        Permissions and `Channel.allows` decide: so change what they read, then call this, in the same transaction. Who
        may not listen any more is told `gone`, who may again `back`.

        Args:
            user: an instance of the user model, or a primary key; None: everybody who listens to the channel.
            channel: its name.
            using: as in `identity_changed`.

        Raises:
            BadName: that is no name of a channel.
            UndeclaredChannel: no declaration covers it. A user's own channel needs none.
            BadSetting: the settings of the broker can't be used.
        """
        check_channel(channel)
        if not channel.startswith("user.") and self._registry.find(channel) is None:
            raise UndeclaredChannel(channel, [pattern.text for pattern, _ in self._registry.readable()])
        anybody, name = _named(user)
        if anybody or name is not None:
            self.tell(Control(REVOKE, name, channel=channel), using=using)

    def disconnect(self, whom: Any, why: str = DISCONNECTED, *, using: str | None = None) -> Future[str | None] | None:
        """Ends connections, in every process, with the close code 4401: pages of livepush.js do not come back by
        themselves.

        Somebody who loads a page anew does, as long as his session is a login: to keep him out, take away what lets him
        in (`is_active`, the session).

        Args:
            whom: an instance of the user model: all his connections. Or the key of a session, which is sent as a hash:
                those of the browser that has it.
            why: for people; at most 120 bytes of UTF-8. Browsers can show it.
            using: as in `identity_changed`.

        Returns:
            As `tell`.

        Raises:
            TypeError: that is neither.
            ValueError: the user is not saved or anonymous, the reason is too long, or the sessions of this site have no
                keys (signed_cookies): disconnect the user.
            BadSetting: the settings of the broker can't be used.
        """
        if not isinstance(why, str) or not why.isprintable() or len(why.encode()) > WHY_BYTES:
            raise ValueError(f"why {str(why)[:40]!r}: must be a printable str of at most {WHY_BYTES} bytes")
        if isinstance(whom, str):
            if not have_keys(session_engine()):
                raise ValueError("whom: the sessions of signed_cookies have no key; give the user")
            if not whom:
                raise ValueError("whom: the key of a session is empty; one that was never saved has none")
            control = Control(DISCONNECT, session=session_hash(whom), why=why)
        else:
            name = user_name("whom", whom, "a user or the key of a session")
            if name is None:
                raise ValueError("whom: an anonymous visitor can't be told apart; give the key of his session")
            control = Control(DISCONNECT, name, why=why)
        return self.tell(control, using=using)

    def logged_out(self, user: Any, key: str | None, *, using: str | None = None) -> None:
        """Says that a session is over, though the database may still know it.

        Args:
            user: whose it was; None: nobody's. Then nothing is said: no connection was made by it, and daemons would
                look at all of theirs for every visitor who is logged out without having been in.
            key: of the session; with signed_cookies the cookie itself.
            using: as in `identity_changed`.
        """
        name = None if user is None else _named(user)[1]
        if key and name is not None:
            self.tell(Control(LOGOUT, name, session_hash(key)), using=using)

    def groups_changed(self, groups: Iterable[Any], *, using: str | None = None) -> None:
        """Says that what groups may has changed. Their members are read when that is committed: who joins in another
        transaction has either joined before, or is told of by that one.

        Args:
            groups: primary keys.
            using: as in `identity_changed`.
        """
        self._wait(using).add_groups(groups)

    def tell(self, control: Control, *, using: str | None = None) -> Future[str | None] | None:
        """Publishes a control message, at the commit.

        Returns:
            Its ticket; None: a transaction is open.
        """
        if not connections[_alias(using)].in_atomic_block:
            return self._publish(control)
        self._wait(using).add(control)
        return None

    def _wait(self, using: str | None) -> _Waiting:
        """What waits for the commit; without a transaction it is handed over with the first thing that is added."""
        alias = _alias(using)
        connection = connections[alias]
        if not connection.in_atomic_block:
            return _Waiting(self._publish, alias, at_once=True)
        waiting = last_waiting(connection)
        if not isinstance(waiting, _Waiting):
            waiting = _Waiting(self._publish, alias)
            at_commit(connection, waiting)
        return waiting

    def _publish(self, control: Control) -> Future[str | None]:
        ticket = self._outlet.publisher().publish(Draft.of_control(control))
        if ticket not in self._watched:  # it may be an earlier one's
            self._watched.add(ticket)
            ticket.add_done_callback(lambda ended: _settled(control, ended))
        return ticket


class _Waiting(Waiting):
    """What one piece of a transaction has to tell, each once: a thousand changes in a row cost one hook."""

    __slots__ = ("_alias", "_at_once", "_controls", "_groups", "_publish")

    def __init__(self, publish: Callable[[Control], object], alias: str, at_once: bool = False) -> None:
        self._publish, self._alias, self._at_once = publish, alias, at_once
        self._controls: dict[Control, None] = {}
        self._groups: dict[Any, None] = {}

    def add(self, control: Control) -> None:
        """One message."""
        self._controls[control] = None
        if self._at_once:
            self.hand_over()

    def add_groups(self, groups: Iterable[Any]) -> None:
        """Their members, whoever they are then."""
        self._groups.update(dict.fromkeys(groups))
        if self._at_once:
            self.hand_over()

    def hand_over(self) -> None:
        """Publishes them. What a look at everybody finds out goes with one."""
        controls, self._controls = self._controls, {}
        groups, self._groups = self._groups, {}
        users = None if _EVERYBODY in controls else members_of(groups, self._alias)
        looks = {each: None for each in controls if each.what == IDENTITY}
        looks.update((Control(IDENTITY, user), None) for user in users or ())
        if users is None or len(looks) > USERS:
            looks = {_EVERYBODY: None}
        for control in (*looks, *(each for each in controls if each.what != IDENTITY)):
            self._publish(control)


def members_of(groups: Iterable[Any], alias: str) -> list[str] | None:
    """The names of the users in any of these groups.

    Args:
        groups: primary keys.
        alias: the database.

    Returns:
        None: more than `USERS`, or they could not be read.
    """
    pks = list(groups)
    if not pks:
        return []
    try:
        users: Any = get_user_model()._base_manager.using(alias).filter(groups__in=pks)
        found = users.order_by().values_list("pk", flat=True).distinct()[: USERS + 1]
        names = [str(pk) for pk in found]
    except Exception:  # the change is committed, and somebody has to be told: then everybody is looked at
        _log.exception("livepush: the members of a group could not be read; daemons look at everybody")
        return None
    return None if len(names) > USERS else names


def _named(user: Any) -> tuple[bool, str | None]:
    """Whether anybody is meant, and a user's name."""
    if user is None:
        return True, None
    return False, user_name("user", user) if hasattr(user, "is_authenticated") else str(user)


def _alias(using: str | None) -> str:
    return using or router.db_for_write(get_user_model())


def _settled(control: Control, ticket: Future[str | None]) -> None:
    error = None if ticket.cancelled() else ticket.exception()
    if error is not None and not isinstance(error, Unroutable):  # no process was there that could have delivered
        failures.add(f"<Control {control.what}>", error)
        publication_failed.send_robust(sender=Control, publication=control, error=error)


controls = Controls(outlet)
identity_changed, revoke, disconnect = controls.identity_changed, controls.revoke, controls.disconnect

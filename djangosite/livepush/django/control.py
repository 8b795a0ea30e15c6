"""Telling the daemons that what Django knows of a user may have changed: they look again before they deliver more.

    identity_changed(user)     one user: logged out, blocked, another password, another permission of his own
    identity_changed()         anybody: a group's permissions, and what can't be named

Nothing calls it yet when Django itself changes a user: signals for that, and a regular look of the daemons at
everybody, come later. Until then a site calls it where it changes rights.

It goes out at the commit, in its place among the events of the transaction. A daemon acts when it has the message,
whatever else waits; what it then reads is committed. Several that say the same are one while they wait.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from weakref import WeakSet

from django.contrib.auth import get_user_model
from django.db import connections, router

from livepush.broker.backlog import Draft
from livepush.broker.envelope import IDENTITY, Control
from livepush.broker.errors import Unroutable
from livepush.django.actor import user_name
from livepush.django.commit import Waiting, at_commit, last_waiting
from livepush.django.outlet import Outlet, outlet
from livepush.django.publication import failures
from livepush.django.signals import publication_failed


class Controls:
    """Publishes control messages, at the commit."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
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
        if user is None:
            name = None
        else:
            name = user_name("user", user) if hasattr(user, "is_authenticated") else str(user)
            if name is None:
                return  # an anonymous visitor: nobody knows anything of him
        connection = connections[using or router.db_for_write(get_user_model())]
        if not connection.in_atomic_block:
            self._publish(name)
            return
        waiting = last_waiting(connection)
        if not isinstance(waiting, _Subjects):
            waiting = _Subjects(self._publish)
            at_commit(connection, waiting)
        waiting.names[name] = None

    def _publish(self, name: str | None) -> None:
        control = Control(IDENTITY, name)
        ticket = self._outlet.publisher().publish(Draft.of_control(control))
        if ticket not in self._watched:  # it may be an earlier one's
            self._watched.add(ticket)
            ticket.add_done_callback(lambda ended: _settled(control, ended))


class _Subjects(Waiting):
    """Those whom one piece of a transaction concerns, each once: a thousand changes in a row cost one hook."""

    __slots__ = ("_publish", "names")

    def __init__(self, publish: Callable[[str | None], None]) -> None:
        self._publish = publish
        self.names: dict[str | None, None] = {}

    def hand_over(self) -> None:
        names, self.names = self.names, {}
        for name in [None] if None in names else names:
            self._publish(name)


def _settled(control: Control, ticket: Future[str | None]) -> None:
    error = None if ticket.cancelled() else ticket.exception()
    if error is not None and not isinstance(error, Unroutable):  # no process was there that could have delivered
        failures.add(f"<Control {control.what}>", error)
        publication_failed.send_robust(sender=Control, publication=control, error=error)


identity_changed = Controls(outlet).identity_changed

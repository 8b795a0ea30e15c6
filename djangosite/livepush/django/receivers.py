"""What Django tells of its users, passed on to the daemons: who it concerns is looked at anew, or ends.

    name          signal                                                          tells
    -----------   -------------------------------------------------------------   -------------------------------------
    logout        user_logged_out                                                 that session is over
    sessions      post_delete of a session that was a login: `flush`, the admin   its user
    users         post_save, post_delete of the user model, its proxies and the   that user
                  models that extend it
    permissions   m2m_changed of a user's groups and permissions                  that user; of those it names: each
                  m2m_changed of a group's permissions                            the group's members, at the commit
                  pre_delete of a group                                           its members
                  post_delete of a permission                                     everybody

Receivers are connected to single models, never to all: a `post_save` of everything would cost every save, and a
`post_delete` takes Django's fast deletion from a model. That of sessions costs `clearsessions` that, which then reads
the rows that it deletes (docs/how-to/revocation.md has figures); `LIVEPUSH_SIGNALS` leaves it out.

What sends no signal the daemons' sweep sees: `QuerySet.update`, `bulk_update`, SQL, what a cache forgets, sessions
that expire, rights from elsewhere.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.apps import apps
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete
from django.utils import timezone

from livepush.django.conf import SIGNALS
from livepush.django.control import Controls, controls, members_of

_CHANGED = ("post_add", "post_remove", "post_clear")

_log = logging.getLogger("livepush")

Receiver = Callable[..., None]

_untold: ContextVar[bool] = ContextVar("livepush_untold", default=False)


@contextmanager
def untold() -> Iterator[None]:
    """Tells no daemon what Django tells of users inside, in this thread.

    For a script that fills a database before there can be an open page, and perhaps before there is a broker, for which
    the process would wait at its end.
    """
    before = _untold.set(True)
    try:
        yield
    finally:
        _untold.reset(before)


def _robust(receiver: Receiver) -> Receiver:
    """The site's own save or logout must not fail because of what livepush makes of it; the sweep remains."""

    @functools.wraps(receiver)
    def receive(self: Receivers, **kwargs: Any) -> None:
        if _untold.get():
            return
        try:
            receiver(self, **kwargs)
        except Exception:
            _log.exception("livepush: a change of a user could not be told to the daemons")

    return receive


class Receivers:
    """The receivers of a site.

    Args:
        controls: where they tell it.
        unrelated: fields of the user model that nobody's rights hang on: a save of nothing else (`update_fields`) is
            not told.
    """

    def __init__(self, controls: Controls = controls, unrelated: tuple[str, ...] = ("last_login",)) -> None:
        self.unrelated = frozenset(unrelated)
        self._controls = controls
        self._connected: list[tuple[Any, Receiver, Any]] = []

    def connect(self, names: tuple[str, ...] = SIGNALS) -> None:
        """Connects those of these names; all models have been loaded."""
        if "logout" in names:
            self._connect(user_logged_out, self.logged_out)
        models = apps.get_models()
        if "sessions" in names:
            for model in models:
                if issubclass(model, AbstractBaseSession):
                    self._connect(post_delete, self.session_deleted, model)
        user: Any = get_user_model()
        if "users" in names:
            for model in models:
                if issubclass(model, user):
                    self._connect(post_save, self.user_saved, model)
                    self._connect(post_delete, self.user_deleted, model)
        if "permissions" in names:
            fields = {field.name: field for field in user._meta.many_to_many}
            for field in (fields.get("groups"), fields.get("user_permissions")):
                if field is not None:
                    self._connect_memberships(field)
            if "groups" in fields:
                self._connect_groups(fields["groups"].related_model)

    def _connect_memberships(self, field: Any) -> None:
        through = field.remote_field.through
        self._connect(m2m_changed, self.users_changed, through)
        if not through._meta.auto_created:  # a model of the site's, with rows that are made and deleted by themselves
            user = through._meta.get_field(field.m2m_field_name()).attname
            changed = functools.partial(self.membership_changed, user=user)
            self._connect(post_save, changed, through)
            self._connect(post_delete, changed, through)

    def _connect_groups(self, group: Any) -> None:
        self._connect(pre_delete, self.group_deleted, group)
        field = next((each for each in group._meta.many_to_many if each.name == "permissions"), None)
        if field is not None:
            self._connect(m2m_changed, self.groups_changed, field.remote_field.through)
            self._connect(post_delete, self.permission_deleted, field.related_model)

    def _connect(self, signal: Any, receiver: Receiver, sender: Any = None) -> None:
        signal.connect(receiver, sender=sender, weak=False)
        self._connected.append((signal, receiver, sender))

    def disconnect(self) -> None:
        """Ends it."""
        for signal, receiver, sender in self._connected:
            signal.disconnect(receiver, sender=sender)
        self._connected.clear()

    # -- what they do --------------------------------------------------------------------------------------------------

    @_robust
    def logged_out(self, request: Any, user: Any, **_: Any) -> None:
        """Comes before the session is deleted: nobody gets in by it any more, whatever the database says by then."""
        session = getattr(request, "session", None)
        self._controls.logged_out(user, getattr(session, "session_key", None))

    @_robust
    def session_deleted(self, instance: AbstractBaseSession, using: str, **_: Any) -> None:
        """An expired one let nobody in; and that of a visitor who was not logged in concerns nobody."""
        if instance.expire_date is not None and instance.expire_date <= timezone.now():
            return
        pk = instance.get_decoded().get(SESSION_KEY)
        if pk is not None:
            self._controls.identity_changed(get_user_model()._meta.pk.to_python(pk), using=using)

    @_robust
    def user_saved(
        self, instance: Any, created: bool, update_fields: frozenset[str] | None, using: str, **_: Any
    ) -> None:
        """His password, `is_active` or `is_superuser`, or what a backend of the site's looks at."""
        if not created and (update_fields is None or not update_fields <= self.unrelated):
            self._controls.identity_changed(_pk(instance), using=using)

    @_robust
    def user_deleted(self, instance: Any, using: str, **_: Any) -> None:
        """He has gone."""
        self._controls.identity_changed(_pk(instance), using=using)

    @_robust
    def users_changed(
        self, instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, using: str, **_: Any
    ) -> None:
        """The groups or permissions of a user; or, `reverse`, the users of one of these."""
        if action not in _CHANGED:
            return
        if not reverse:
            self._controls.identity_changed(_pk(instance), using=using)
        elif pk_set is None:  # cleared: whose it was is gone
            self._controls.identity_changed(using=using)
        else:
            for pk in pk_set:
                self._controls.identity_changed(pk, using=using)

    @_robust
    def membership_changed(self, instance: Any, user: str, using: str, **_: Any) -> None:
        """A row of a site's own table between users and groups."""
        self._controls.identity_changed(getattr(instance, user), using=using)

    @_robust
    def groups_changed(
        self, instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, using: str, **_: Any
    ) -> None:
        """The permissions of a group; or, `reverse`, the groups of a permission."""
        if action not in _CHANGED:
            return
        if not reverse:
            self._controls.groups_changed([instance.pk], using=using)
        elif pk_set is None:
            self._controls.identity_changed(using=using)
        else:
            self._controls.groups_changed(pk_set, using=using)

    @_robust
    def group_deleted(self, instance: Any, using: str, **_: Any) -> None:
        """While it still has members."""
        users = members_of([instance.pk], using)
        for user in [None] if users is None else users:
            self._controls.identity_changed(user, using=using)

    @_robust
    def permission_deleted(self, using: str, **_: Any) -> None:
        """Users and groups that held it are not told apart."""
        self._controls.identity_changed(using=using)


def _pk(user: Any) -> Any:
    """Also of a model that extends the user's and has a key of its own."""
    return getattr(user, get_user_model()._meta.pk.attname)


receivers = Receivers()
"""The site's."""

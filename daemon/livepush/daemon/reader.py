"""Who a browser's cookies belong to, as Django says: the daemon's door to sessions, users and permissions.

    Reader     Cookie header -> session -> user -> declared permissions, and the same anew; of many with few queries

Blocking, for any thread; `identifier` asks it from the reactor. Nothing here writes (`livepush.django.sessions` says
how), so the account of `LIVEPUSH_AUTH_DATABASE` needs SELECT only, on the tables of sessions, users, groups and
permissions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import DEFAULT_DB_ALIAS, Error, close_old_connections
from django.http import Http404
from twisted.logger import Logger

from livepush.daemon.entitlement import AudienceRule, ChannelRule, Directory, Snapshot
from livepush.django import channels, tickets
from livepush.django.errors import BadTicket
from livepush.django.sessions import Login, Sessions, is_signed_by, reading_from
from livepush.django.users import each, fetch_known, fill_permissions, may_fill

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that JavaScript holds exactly; a larger primary key goes to browsers as a text."""

_log = Logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """How users are looked up.

    Attributes:
        sessions: the site's.
        threads: that work for Django; each holds one connection per database that it uses.
        queue: visitors who may wait for an answer. One more is refused with `Busy`.
        database: alias that sessions, users and permissions are read from; `default`: where the site's routers say.
        anonymous: visitors who are not logged in may connect.

    Raises:
        ValueError: a number is not positive.
    """

    sessions: Sessions
    threads: int = 4
    queue: int = 10_000
    database: str = DEFAULT_DB_ALIAS
    anonymous: bool = False

    def __post_init__(self) -> None:
        for name in ("threads", "queue"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"IdentitySettings.{name} {value!r}: must be a positive int")


def directory_of(registry: channels.Registry) -> Directory:
    """The declared channels as plain values."""
    return Directory(
        tuple(
            ChannelRule(
                pattern=pattern,
                audiences=tuple(AudienceRule(each.name, each.perm) for each in channels.audiences_of(declaration)),
                auto=bool(declaration.auto),
                guarded=channels.is_guarded(declaration),
                presence=bool(declaration.presence),
                presence_permission=declaration.presence_perm,
            )
            for pattern, declaration in registry.readable()
        )
    )


@dataclass(frozen=True, slots=True)
class Question:
    """Who is that? Equal questions have one answer.

    Attributes:
        key: the value of the session cookie; "": there is none.
        user: of a visitor without a session key: `str(pk)` of whom he was.
        auth_hash: and what had signed that.
        mark: or what stood for his password when he got a ticket.
        origin: and the session in which he got it; see `Snapshot`.
    """

    key: str = field(default="", repr=False)
    user: str | None = None
    auth_hash: str | None = field(default=None, repr=False)
    mark: str | None = field(default=None, repr=False)
    origin: str | None = None

    @classmethod
    def about(cls, snapshot: Snapshot) -> Question:
        """Who that visitor is now."""
        if snapshot.user is None or snapshot.session_key is not None:
            return cls(snapshot.session_key or "")
        return cls("", snapshot.user, snapshot.auth_hash, origin=snapshot.origin)


def claim_of(ticket: str) -> tuple[str, Question] | None:
    """What is claimed by who shows a ticket, and who he is to be; None: it was made by nobody, or is too old."""
    try:
        said = tickets.read_ticket(ticket)
    except BadTicket:
        return None
    return said.word, Question("", said.user, mark=said.mark, origin=said.origin)


@dataclass(frozen=True, slots=True)
class Wish:
    """May that visitor listen to this channel, whose declaration has a rule?"""

    snapshot: Snapshot
    rule: ChannelRule
    channel: str


def same_visitor(found: Snapshot | None, known: Snapshot) -> Snapshot | None:
    """What was found out, if it is of the same user: another one may have logged in with a session since."""
    return found if found is not None and found.user == known.user else None


class Reader:
    """Reads sessions, users and permissions, and writes nothing. Blocking; any thread."""

    def __init__(self, settings: IdentitySettings, registry: channels.Registry) -> None:
        self.settings, self._registry = settings, registry
        rules = directory_of(registry).rules
        self._permissions = tuple(sorted({permission for rule in rules for permission in rule.permissions}))
        self._known: dict[frozenset[str], frozenset[str]] = {}

    def identify(self, cookies: str) -> Snapshot | None:
        """The user whose session a Cookie header names.

        Returns:
            None: nobody who may connect. Where anonymous visitors may, nobody is one of them.

        Raises:
            Exception: a database, a cache, or the code of a session engine or an authentication backend failed.
        """
        return self._ask(Question(self.settings.sessions.key_of(cookies)))

    def reidentify(self, snapshot: Snapshot) -> Snapshot | None:
        """The same visitor as he is now.

        The session is read by its key, which must still be a login of the same user, signed by his present password.
        Where the cookie held the session itself, his present password must have signed what was read then.

        Returns:
            None: that login has ended.

        Raises:
            Exception: as `identify`.
        """
        return same_visitor(self._ask(Question.about(snapshot)), snapshot)

    def _ask(self, question: Question) -> Snapshot | None:
        (found,) = self.look([question])
        if isinstance(found, Exception):
            raise found
        return found

    def look(self, questions: Sequence[Question]) -> list[Snapshot | Exception | None]:
        """Who many visitors are, in the order of the questions; an error of the site's code that is one's own is his
        answer.

        Raises:
            Exception: what failed for all: a database, a cache.
        """
        with reading_from(self.settings.database):
            keys = {question.key for question in questions if question.key}
            logins = self.settings.sessions.logins_of_keys(keys)
            to_pk = get_user_model()._meta.pk.to_python
            known = {question: to_pk(question.user) for question in questions if question.user is not None}
            users = fetch_known(set(known.values()))
            present = [login.user for login in logins.values() if isinstance(login, Login)]
            present += [user for user in users.values() if user is not None and not isinstance(user, Exception)]
            if self._permissions and len(present) > 1 and may_fill():
                fill_permissions(present)
            nobody = cache(self._anonymous)  # once for all of them

            def answer(question: Question) -> Snapshot | Exception | None:
                if question.user is not None:
                    return self._as_known(question, users[known[question]])
                login = logins.get(question.key)
                if isinstance(login, Exception):
                    return login
                return nobody() if login is None else self._snapshot_of(login)

            found = each(questions, answer)
        return [found[question] for question in questions]

    def may_return(self, snapshots: Sequence[Snapshot]) -> list[bool | Exception]:
        """Of logins that have ended: whether the browser may hold a newer cookie of theirs.

        A session that is kept under its key has none. Where the cookie holds the session itself nobody can say.

        Raises:
            Exception: as `look`.
        """
        keys = {each.session_key for each in snapshots if each.session_key is not None}
        with reading_from(self.settings.database):
            gone = self.settings.sessions.are_gone(keys)
        return [each.user is not None if each.session_key is None else gone[each.session_key] for each in snapshots]

    def _as_known(self, question: Question, user: Any) -> Snapshot | Exception | None:
        if isinstance(user, Exception):
            return user
        if user is None or not user.is_authenticated:
            return None
        if question.mark is not None:
            if not tickets.is_marked(user, question.mark):
                return None
            return self._snapshot_of(Login(user, None, auth_hash_of(user), question.origin))
        if not _is_signed(user, question.auth_hash):
            return None
        return self._snapshot_of(Login(user, None, question.auth_hash, question.origin))

    def _snapshot_of(self, login: Login) -> Snapshot:
        user = login.user
        return Snapshot(
            user=str(user.pk),
            wire_user=user.pk if _is_exact(user.pk) else str(user.pk),
            session_key=login.session_key,
            auth_hash=login.auth_hash,
            permissions=self._held_by(user),
            is_superuser=bool(getattr(user, "is_superuser", False)),
            admitted=True,
            origin=login.origin,
        )

    def allows(self, snapshot: Snapshot, rule: ChannelRule, channel: str) -> bool:
        """What the declaration's own `allows` says, of a user read anew.

        The rule is the site's code: its queries go where the site's routers say.

        Raises:
            django.db.Error: the database failed; any other exception of the rule is a no, logged.
        """
        (answer,) = self.judge([Wish(snapshot, rule, channel)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def judge(self, wishes: Sequence[Wish]) -> list[bool | Exception]:
        """The same for many, of users read anew together; a failure of the database is the answer of whom it met.

        Raises:
            django.db.Error: the database failed for all.
        """
        users = self._users_of([wish.snapshot for wish in wishes])
        found = each(wishes, lambda wish: self._judge(wish, users[wish.snapshot.user]))
        return [found[wish] for wish in wishes]

    def _judge(self, wish: Wish, user: Any) -> bool:
        declaration = self._registry.find(wish.channel)
        args = wish.rule.pattern.match(wish.channel)
        if isinstance(user, Exception):
            raise user
        if declaration is None or args is None or user is None:
            return False
        try:
            answer: object = declaration().allows(user, **args)
        except Error:
            raise
        except (ObjectDoesNotExist, PermissionDenied, Http404):
            return False
        except Exception:
            # The site's code, for one channel of one connection: it is refused, and all else goes on.
            _log.failure("{name}.allows failed and counts as a no.", name=declaration.__qualname__)
            return False
        if inspect.iscoroutine(answer):
            answer.close()
            return False
        return bool(answer)

    def _anonymous(self) -> Snapshot | None:
        if not self.settings.anonymous:
            return None
        from django.contrib.auth.models import AnonymousUser

        return Snapshot(None, None, None, None, self._held_by(AnonymousUser()), is_superuser=False, admitted=True)

    def _held_by(self, user: Any) -> frozenset[str]:
        """The declared permissions that a user has; one object for all who have the same."""
        held = frozenset(permission for permission in self._permissions if user.has_perm(permission))
        if len(self._known) > 1000:  # a bound, where backends give every user rights of his own
            self._known.clear()
        return self._known.setdefault(held, held)

    def user_of(self, snapshot: Snapshot) -> Any:
        """The snapshot's user as he is now, from where the site's routers say; None: he has gone, or may not log in."""
        user = self._as_they_are([snapshot])[snapshot.user]
        if isinstance(user, Exception):
            raise user
        return user

    def _users_of(self, snapshots: Sequence[Snapshot]) -> dict[str | None, Any]:
        """The same of many, from the database of users, where that is another."""
        with reading_from(self.settings.database):
            return self._as_they_are(snapshots)

    def _as_they_are(self, snapshots: Sequence[Snapshot]) -> dict[str | None, Any]:
        from django.contrib.auth.models import AnonymousUser

        to_pk = get_user_model()._meta.pk.to_python
        pks = {snapshot.user: to_pk(snapshot.user) for snapshot in snapshots if snapshot.user is not None}
        users = fetch_known(set(pks.values()))
        found: dict[str | None, Any] = {user: users[pk] for user, pk in pks.items()}
        found[None] = AnonymousUser() if self.settings.anonymous else None
        return found


def with_connections(job: Callable[[], T]) -> T:
    """In a thread: what Django does around a request, so that a dead connection heals."""
    close_old_connections()
    try:
        return job()
    finally:
        close_old_connections()


def auth_hash_of(user: Any) -> str | None:
    """What signs a login of his; None: his model has no such thing."""
    return user.get_session_auth_hash() if hasattr(user, "get_session_auth_hash") else None


def _is_signed(user: Any, auth_hash: str | None) -> bool:
    """As at the login: a user model without a password's hash has nothing that could have changed."""
    return not hasattr(user, "get_session_auth_hash") or is_signed_by(user, auth_hash)


def _is_exact(pk: object) -> bool:
    return isinstance(pk, int) and not isinstance(pk, bool) and abs(pk) <= MAX_SAFE_INTEGER

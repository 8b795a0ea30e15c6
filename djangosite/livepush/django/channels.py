"""What a site declares: channels, and who may listen to them as whom.

A declaration is a class in some app's `push.py`, found as `admin.py` is:

    class Orders(Channel):
        name = "orders"
        auto = True
        audiences = [Audience("moderator", perm="orders.delete_order"), Audience("client", perm="orders.lock_order")]

Faulty declarations don't raise where they stand; they are reported by the system checks (`livepush.django.checks`), and
until then a pattern that can't be read matches nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from livepush.broker.errors import BadName
from livepush.broker.names import ChannelPattern, personal_channel
from livepush.django.actor import Caller


@dataclass(frozen=True, slots=True)
class Audience:
    """Some of a channel's listeners: those that see the same view of an event.

    Attributes:
        name: a word, unique in its channel.
        perm: the permission that makes a user part of it, `app.codename`; None: any logged-in user (and anonymous
            visitors where `LIVEPUSH_ANONYMOUS` admits them).
    """

    name: str
    perm: str | None = None


class Channel:
    """A declared channel, or a pattern of channels. Subclasses that set `name` are registered.

    Attributes:
        name: words joined by dots; a word may be a placeholder, as in `orders.{order_id}`, and is then an argument
            of `allows`.
        auto: every page listens from the start, without asking. Not for patterns.
        audiences: who may listen; a user does as the first one that holds him, and not at all when none does.
        presence: the users on it are known: pages that listen are told who else does, and `livepush.django.presence`
            asks. It names primary keys, nothing else.
        presence_perm: the permission, `app.codename`, that a listener needs to be told; None: every listener is.
        caller: who calls, inside `receive` only: each call has an instance of its own.
    """

    name: ClassVar[str]
    auto: ClassVar[bool] = False
    audiences: ClassVar[Sequence[Audience]] = ()
    presence: ClassVar[bool] = False
    presence_perm: ClassVar[str | None] = None

    caller: Caller

    def __init_subclass__(cls, *, registry: Registry | None = None, **kwargs: Any) -> None:
        """Registers the class.

        Args:
            registry: another one than the site's, for tests.
            kwargs: for other bases.
        """
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            (declared if registry is None else registry).add(cls)

    def allows(self, user: Any, **args: str) -> bool:
        """The object-level rule: whether this user, whom an audience holds, may listen.

        It runs in the daemon's threads for Django at each subscription, with a fresh user, and may use the ORM to
        read. An exception is a no.

        Args:
            user: an instance of the user model, or `AnonymousUser`.
            args: the words that stand for the placeholders of `name`.
        """
        return True

    def receive(self, user: Any, type: str, data: Any, **args: str) -> Mapping[str, Any] | None:  # noqa: A002
        """A request of a page, `livepush.call(channel, type, data)`; a channel without this method takes none.

        It runs in the daemon, in threads that may write, for users who may listen to the channel at that moment. No
        transaction is open: `transaction.atomic()` makes one. `publish(..., skip=self.caller)` leaves out the tab that
        called, which has the answer.

        Args:
            user: read anew for this call; an instance of the user model, or `AnonymousUser`.
            type: what is asked for: a name as the types of events are. Any may come: refuse those you don't know.
            data: a dict, whatever a browser can write: check it.
            args: the words that stand for the placeholders of `name`.

        Returns:
            The answer, a dict as `publish` takes one; None: an empty one.

        Raises:
            CallRefused: no; the page is shown its message. Of what else is raised a page learns nothing but `failed`
                (`PermissionDenied`: `forbidden`, `Http404`: `not_found`).
        """
        raise NotImplementedError


class Registry:
    """The declarations of a site, in order."""

    def __init__(self) -> None:
        self.declarations: list[type[Channel]] = []
        self._plain: dict[str, type[Channel]] = {}
        self._patterns: list[tuple[ChannelPattern, type[Channel]]] = []

    def add(self, declaration: type[Channel]) -> None:
        """Takes a declaration; of two of the same name the first counts (and a check tells)."""
        self.declarations.append(declaration)
        pattern = pattern_of(declaration)
        if pattern is None:
            return
        if pattern.plain:
            self._plain.setdefault(pattern.text, declaration)
        elif all(pattern.text != other.text for other, _ in self._patterns):
            self._patterns.append((pattern, declaration))

    def find(self, channel: str) -> type[Channel] | None:
        """The declaration that covers a channel: plain names before patterns, patterns in order of declaration."""
        found = self._plain.get(channel)
        if found is None:
            found = next((each for pattern, each in self._patterns if pattern.match(channel) is not None), None)
        return found

    def readable(self) -> Iterator[tuple[ChannelPattern, type[Channel]]]:
        """The declarations that count, with their patterns, in order of declaration."""
        counting = {*self._plain.values(), *(each for _, each in self._patterns)}
        for declaration in self.declarations:
            pattern = pattern_of(declaration)
            if pattern is not None and declaration in counting:
                yield pattern, declaration


declared = Registry()
"""The site's own."""


def user_channel(user: Any) -> str:
    """The name of a user's own channel, which exists without a declaration and has him as its one listener.

    Args:
        user: an instance of the user model, or a primary key.

    Raises:
        ValueError: he is anonymous or not saved.
    """
    pk = getattr(user, "pk", user)
    if pk is None:
        raise ValueError(f"user_channel: {type(user).__name__} has no pk, so no channel of its own")
    return personal_channel(pk)


def pattern_of(declaration: type[Channel]) -> ChannelPattern | None:
    """The pattern of a declaration; None if it can't be read."""
    try:
        return ChannelPattern(declaration.name)
    except BadName:
        return None


def audiences_of(declaration: type[Channel]) -> tuple[Audience, ...]:
    """The audiences that can be used; what is none is left out (and a check tells)."""
    try:
        return tuple(each for each in declaration.audiences if isinstance(each, Audience))
    except TypeError:
        return ()


def is_guarded(declaration: type[Channel]) -> bool:
    """Whether it has an object-level rule of its own."""
    return declaration.allows is not Channel.allows


def takes_calls(declaration: type[Channel]) -> bool:
    """Whether pages may send it requests."""
    return declaration.receive is not Channel.receive

"""Who may hear what: the declared channels and a user's permissions, as plain immutable values.

`identity` makes them out of Django; everything else in the daemon sees only these, so that a decision is a look-up and
never a query.
"""

from __future__ import annotations

from dataclasses import dataclass

from livepush.broker.envelope import session_hash
from livepush.broker.names import ChannelPattern, personal_channel

PERSONAL = "self"
"""The audience of a user's own channel."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A user's identity and entitlement at one moment.

    Attributes:
        user: `str(pk)`, or None for an anonymous visitor.
        wire_user: the primary key as the browser sees it: an int stays one, anything else is a text.
        session_key: None where the session engine has no key of its own (signed cookies) or nobody is logged in.
        auth_hash: the session's hash of the password, to see a change of it.
        permissions: the *declared* permissions for which `has_perm` is true; shared between equal snapshots.
        is_superuser: Django's flag.
        admitted: whether audiences without a permission hold this visitor: any logged-in user does, an anonymous one
            where `LIVEPUSH_ANONYMOUS` says so.
        origin: `session_hash` of a session that can't be looked up: of the signed cookie that he showed, or of the
            session in which he got his ticket. Its logout is his.
    """

    user: str | None
    wire_user: int | str | None
    session_key: str | None
    auth_hash: str | None
    permissions: frozenset[str]
    is_superuser: bool
    admitted: bool
    origin: str | None = None

    @property
    def session_name(self) -> str | None:
        """What control messages call his session; None: he has none."""
        return self.origin if self.session_key is None else session_hash(self.session_key)


@dataclass(frozen=True, slots=True)
class AudienceRule:
    """One audience of a channel: its name, and the permission that makes a user part of it (None: anybody admitted)."""

    name: str
    permission: str | None

    def holds(self, snapshot: Snapshot) -> bool:
        """Whether this user is in it."""
        return snapshot.admitted if self.permission is None else self.permission in snapshot.permissions


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """A declared channel, or a pattern of channels.

    Attributes:
        pattern: the declared name.
        audiences: in order of declaration; a user listens as the first one that holds him.
        auto: subscribed at connect without the client's asking (plain names only).
        guarded: the declaration has an object-level rule (`Channel.allows`) that must be asked at each subscription.
        presence: who is on the channel is kept, and told to those who may know.
        presence_permission: that a listener must hold to be told; None: every listener is.
    """

    pattern: ChannelPattern
    audiences: tuple[AudienceRule, ...]
    auto: bool = False
    guarded: bool = False
    presence: bool = False
    presence_permission: str | None = None

    @property
    def permissions(self) -> tuple[str, ...]:
        """All that it asks for."""
        asked = (*(each.permission for each in self.audiences), self.presence_permission)
        return tuple(permission for permission in asked if permission is not None)

    def audience_of(self, snapshot: Snapshot) -> str | None:
        """The audience that this user listens as; None: he may not."""
        for audience in self.audiences:
            if audience.holds(snapshot):
                return audience.name
        return None

    def shows(self, snapshot: Snapshot) -> bool:
        """Whether this user, who listens, is told who else does."""
        return self.presence and (self.presence_permission is None or self.presence_permission in snapshot.permissions)


@dataclass(frozen=True, slots=True)
class Grant:
    """A user may listen to a channel, as this audience; `guard` must be asked first where it is not None."""

    channel: str
    audience: str
    guard: ChannelRule | None = None


class Directory:
    """All declared channels."""

    def __init__(self, rules: tuple[ChannelRule, ...]) -> None:
        self.rules = rules
        self._plain = {rule.pattern.text: rule for rule in rules if rule.pattern.plain}
        self._patterns = tuple(rule for rule in rules if not rule.pattern.plain)

    def rule_for(self, channel: str) -> ChannelRule | None:
        """The declaration of this channel; plain names come before patterns, patterns in order of declaration."""
        rule = self._plain.get(channel)
        if rule is None:
            rule = next((rule for rule in self._patterns if rule.pattern.match(channel) is not None), None)
        return rule

    def grant(self, snapshot: Snapshot, channel: str) -> Grant | None:
        """What this user may have of a channel; None: nothing, or there is no such channel."""
        if snapshot.user is not None and channel == personal_channel(snapshot.user):
            return Grant(channel, PERSONAL)
        rule = self.rule_for(channel)
        audience = None if rule is None else rule.audience_of(snapshot)
        if rule is None or audience is None:
            return None
        return Grant(channel, audience, rule if rule.guarded else None)

    def declared(self, snapshot: Snapshot) -> tuple[str, ...]:
        """The names of the user's own channel and of all `auto` channels, granted or not."""
        names = tuple(rule.pattern.text for rule in self.rules if rule.auto and rule.pattern.plain)
        return names if snapshot.user is None else (personal_channel(snapshot.user), *names)

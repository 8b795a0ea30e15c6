"""What is said of a roll: the messages of presence, without what each wire format adds to them."""

from __future__ import annotations

from collections.abc import Collection

from livepush.broker.envelope import Json
from livepush.daemon.registry import Roll, wire_user_of


def whole(roll: Roll | None) -> Json:
    """The whole list, or that it is not known, or is too long."""
    if roll is None:
        return {"now": None, "why": "unavailable"}
    if roll.members is None:
        return {"rev": roll.revision, "now": None, "why": "too_many", "count": roll.count}
    return {"rev": roll.revision, "now": _users(roll.members)}


def change(old: Roll, new: Roll) -> Json | None:
    """Who joined and who left; {}: nobody in the end; None: it can't be told as a change."""
    if old.members is None or new.members is None:
        return None
    join, leave = new.members - old.members, old.members - new.members
    return {"rev": new.revision, "join": _users(join), "leave": _users(leave)} if join or leave else {}


def _users(members: Collection[str]) -> list[int | str]:
    return [wire_user_of(member) for member in sorted(members, key=lambda member: (len(member), member))]

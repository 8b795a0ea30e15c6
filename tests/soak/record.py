"""What is compared afterwards: what was published, and what each client was told. Values, and how files are read.

A client's log is a file of JSON arrays, one a line:

    [t, tab, "event" | "dropped" | "outdated", channel, id, name, replayed]
    [t, tab, "granted" | "gone" | "resync", channel, why, where]
    [t, tab, "open" | "closed", where, why]            a connection to one of the daemons; not a thing of a channel
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

AUDIENCES: dict[str, dict[str, str]] = {
    "orders": {"moderator": "moderator", "client": "client"},
    "news": {"moderator": "reader", "client": "reader", "reader": "reader"},
    "rooms": {"moderator": "client", "client": "client"},
}
"""By channel (its first word) and role: as what a user listens. See `soaked.push`."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One event, as its publisher told.

    Attributes:
        name: unique, and in the event's data.
        t: when it was begun.
        channel: where.
        hidden: audiences whose view is None.
        only: audiences and users; None: everybody.
        skip: user and tab that are left out.
        key, version: what it is about; a later version stands for it.
        outcome: see `soaked.journal`; empty: its process was killed before it knew.
        id: `<publisher>-<number>` where the publisher knew.
    """

    name: str
    t: float
    channel: str
    hidden: frozenset[str] = frozenset()
    only: tuple[frozenset[str], frozenset[str]] | None = None
    skip: tuple[str | None, str | None] | None = None
    key: str | None = None
    version: int | None = None
    outcome: str = "confirmed"
    id: str | None = None

    @property
    def promised(self) -> bool:
        """Whether everybody who may know it has to be told, of the event or of a loss."""
        return self.outcome in ("confirmed", "committed", "overflow")

    @property
    def void(self) -> bool:
        """Whether nobody may ever hear of it."""
        return self.outcome in ("undone", "overflow")


@dataclass(frozen=True, slots=True)
class Client:
    """Who a client is.

    Attributes:
        tab: its name.
        user: the primary key, as text.
        role: `moderator`, `client` or `reader`.
        rooms: channels that it asks for.
        moves: it goes to the other daemon when it loses one, and does not wait for its own.
    """

    tab: str
    user: str
    role: str
    rooms: tuple[str, ...] = ()
    moves: bool = True

    def audience(self, channel: str) -> str | None:
        """As what it listens to a channel; None: it doesn't, or may not."""
        family, _, rest = channel.partition(".")
        if family == "user":
            return "self" if rest == self.user else None
        if family == "rooms" and channel not in self.rooms:
            return None
        return AUDIENCES.get(family, {}).get(self.role)

    def may_know(self, event: Publication) -> bool:
        """Whether this client is to be told."""
        audience = self.audience(event.channel)
        if audience is None or audience in event.hidden:
            return False
        if event.skip is not None and self._is_left_out(*event.skip):
            return False
        return event.only is None or audience in event.only[0] or self.user in event.only[1]

    def _is_left_out(self, user: str | None, tab: str | None) -> bool:
        return user == self.user if tab is None else tab == self.tab


class Line(NamedTuple):
    """One line of a client's log about a channel; see the module.

    Attributes:
        why: of a resync or gone, the audience of a grant; empty for events.
        id, name: of an event.
        replayed: the event came out of the past.
        where: the port of the daemon that told a resync, a grant or gone.
    """

    t: float
    what: str
    channel: str
    why: str = ""
    id: str = ""
    name: str = ""
    replayed: bool = False
    where: str = ""


@dataclass(slots=True)
class Log:
    """All that one client was told, in order."""

    client: Client
    lines: list[Line] = field(default_factory=list)


def read_publications(folder: Path) -> dict[str, Publication]:
    """All journals of a folder, by the events' names. A last line that is cut is one that was never begun."""
    found: dict[str, dict[str, Any]] = {}
    for entry in _entries(folder.glob("*.jsonl")):
        if entry["do"] == "publish":
            found[entry["name"]] = {**entry, "outcome": ""}
        elif found[entry["name"]]["outcome"] in ("", "failed"):
            found[entry["name"]].update(outcome=entry["outcome"], id=entry.get("id"))
    return {name: _publication(entry) for name, entry in found.items()}


def read_logs(files: Iterable[Path], clients: Iterable[Client]) -> list[Log]:
    """The logs of these clients."""
    logs = {client.tab: Log(client) for client in clients}
    for t, tab, what, *rest in _entries(files):
        if what in ("event", "dropped", "outdated"):
            channel, id_, name, replayed = rest
            logs[tab].lines.append(Line(t, what, channel, "", id_, name, replayed))
        elif what not in ("open", "closed"):
            channel, why, where = rest
            logs[tab].lines.append(Line(t, what, channel, why, where=where))
    return list(logs.values())


def _entries(files: Iterable[Path]) -> Iterator[Any]:
    for file in sorted(files):
        with file.open() as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)


def _publication(entry: dict[str, Any]) -> Publication:
    only, skip = entry["only"], entry["skip"]
    return Publication(
        name=entry["name"],
        t=entry["t"],
        channel=entry["channel"],
        hidden=frozenset(entry["hidden"]),
        only=None if only is None else (frozenset(only[0]), frozenset(only[1])),
        skip=None if skip is None else (skip[0], skip[1]),
        key=entry["key"],
        version=entry["version"],
        outcome=entry["outcome"],
        id=entry.get("id"),
    )

"""Which event stands for which: `key` and `version` of what an event is about.

    an event with            is
    ---------------------    ----------------------------------------------------------------------------------------
    a version below the      dropped by the hub: publishers are not in order among each other, and what is older would
      newest one seen          overwrite what is newer in the browsers
    a key, and a later       left out of a replay: the later one tells all that it told
      one with that key

Only what everybody of the channel may see can stand for something else: an event with `only`, `skip` or an audience
that is shown nothing would take from some the older one and not give them the newer one. And only what is logged:
`live` events are sent once and never again.

Bound: `KEYS` keys, those not heard of for longest forgotten first; of a forgotten one an older event goes through, and
`livepush.js` drops it.
"""

from __future__ import annotations

from livepush.broker.envelope import Event
from livepush.daemon.ring import Entry

KEYS = 50_000


def stands_for_others(event: Event) -> bool:
    """Whether a logged event is shown to everybody who is shown an older one with its key."""
    return event.key is not None and event.only is None and event.skip is None and None not in event.views.values()


class Versions:
    """The newest version of each (channel, key)."""

    def __init__(self, keys: int = KEYS) -> None:
        self._keys = keys
        self._newest: dict[tuple[str, str], int] = {}

    def is_stale(self, event: Event) -> bool:
        """Whether a newer version than this event's was seen."""
        if event.version is None or event.key is None:
            return False
        return event.version < self._newest.get((event.channel, event.key), 0)

    def note(self, event: Event) -> None:
        """A logged event that is not stale is released."""
        if event.version is None or event.key is None or not stands_for_others(event):
            return
        key = event.channel, event.key
        self._newest.pop(key, None)
        self._newest[key] = event.version
        if len(self._newest) > self._keys:
            del self._newest[next(iter(self._newest))]

    def clear(self) -> None:
        """Nothing is known any more."""
        self._newest.clear()

    def __len__(self) -> int:
        return len(self._newest)


def conflate(entries: list[Entry]) -> list[Entry]:
    """The entries of one channel's replay without those that a later one stands for, in the same order."""
    if all(entry.event is None or entry.event.key is None for entry in entries):
        return entries
    told: dict[str, int | None] = {}  # of what stands behind, per key, the version
    kept: list[Entry] = []
    for entry in reversed(entries):
        event = entry.event
        if event is not None and event.key is not None:
            if event.key in told:
                newer = told[event.key]
                if newer is None or event.version is None or event.version <= newer:
                    continue
            if stands_for_others(event):
                told[event.key] = event.version
        kept.append(entry)
    kept.reverse()
    return kept

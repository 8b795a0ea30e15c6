"""The markers that a process has put into the log, and what has become of each: numbers and times, no broker, no clock.

    a marker is     then
    -----------     -----------------------------------------------------------------------------------------
    sent            it has the next number; as long as it takes to come back, so far is the log reader behind
    confirmed       it should come back; `missing` says for how long it has not
    returned        no queue wanted it: the log is not bound, or the stream is only just starting
    met             the reader has read it: it and all before it are done with

The time is any monotonic clock of this process. The broker's and the publishers' clocks take no part, so a machine
whose clock is wrong reads as much as any other.
"""

from __future__ import annotations

from dataclasses import dataclass

KEPT = 100


@dataclass(slots=True)
class _Sent:
    at: float
    confirmed: float | None = None
    returned: bool = False


class Markers:
    """Of one process. Over 100 that never came back, the oldest is forgotten.

    Attributes:
        newest: the number of the last one sent; 0: none.
    """

    def __init__(self) -> None:
        self.newest = 0
        self._sent: dict[int, _Sent] = {}
        self._sent_at: float | None = None

    def send(self, now: float) -> int:
        """One more; its number."""
        self.newest += 1
        self._sent_at = now
        self._sent[self.newest] = _Sent(now)
        if len(self._sent) > KEPT:
            del self._sent[next(iter(self._sent))]
        return self.newest

    def confirmed(self, number: int, now: float) -> None:
        """The broker has taken it."""
        sent = self._sent.get(number)
        if sent is not None and sent.confirmed is None:
            sent.confirmed = now

    def returned(self, number: int) -> None:
        """The broker had no queue for it; its confirm comes all the same."""
        sent = self._sent.get(number)
        if sent is not None:
            sent.returned = True

    def met(self, number: int, now: float) -> float | None:
        """It came out of the log. Returns after how many seconds; None: nobody waits for it any longer."""
        sent = self._sent.get(number)
        if sent is None:
            return None
        for earlier in [one for one in self._sent if one <= number]:
            del self._sent[earlier]
        return now - sent.at

    def forget(self) -> None:
        """Nobody waits for those sent so far."""
        self._sent.clear()

    def age(self, now: float) -> float:
        """Seconds since the last one was sent; infinite: none was."""
        return float("inf") if self._sent_at is None else now - self._sent_at

    def missing(self, now: float) -> float:
        """For how many seconds the longest confirmed one has not come back; 0: none is waited for."""
        return max((now - sent.confirmed for sent in self._sent.values() if sent.confirmed is not None), default=0.0)

    def unconfirmed(self, now: float) -> float:
        """For how many seconds the broker has not taken one; 0: it took all."""
        return max((now - sent.at for sent in self._sent.values() if sent.confirmed is None), default=0.0)

    @property
    def unroutable(self) -> bool:
        """Whether every confirmed one that is waited for was returned."""
        confirmed = [sent.returned for sent in self._sent.values() if sent.confirmed is not None]
        return bool(confirmed) and all(confirmed)

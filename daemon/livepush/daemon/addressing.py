"""Whom an event is meant for: its audience's view, `only`, and `skip`, which names the one who acted."""

from __future__ import annotations

from livepush.broker.envelope import Event, Skip


def is_shown(event: Event, audience: str, user: str | None, tab: str | None) -> bool:
    """Whether a connection is given an event in a replay.

    Args:
        event: on a channel that it may listen to.
        audience: that it listens as.
        user: whose it is; None: an anonymous visitor's.
        tab: of the browser, as far as it is known.
    """
    if event.skip is not None and is_skipped(event.skip, user, tab):
        return False
    only = event.only
    return event.view(audience) is not None and (only is None or audience in only.audiences or user in only.users)


def is_skipped(skip: Skip, user: str | None, tab: str | None) -> bool:
    """Whether it is the one who acted: by his tab where that is known, else all that are his."""
    if skip.tab is None:
        return skip.user is not None and skip.user == user
    return skip.tab == tab and (skip.user is None or skip.user == user)

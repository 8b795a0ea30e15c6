"""What is replayed to one connection, out of the history's answers: frames in feed order, and what is granted."""

from __future__ import annotations

from collections.abc import Mapping

from livepush.daemon.addressing import is_shown
from livepush.daemon.history import Answer, Wait
from livepush.daemon.interfaces import Encoder
from livepush.daemon.outbound import Frame
from livepush.daemon.ring import Entry, in_feed_order
from livepush.wire.requests import Granted


def replay(
    encoder: Encoder,
    who: tuple[str | None, str | None],
    grants: Mapping[str, str],
    answers: Mapping[str, Answer],
    most: int,
) -> tuple[dict[str, Granted], list[Frame]]:
    """The frames of a replay, each with the position of its entry.

    Args:
        encoder: the wire format.
        who: user and tab.
        grants: the audience of each channel.
        answers: what followed on each.
        most: bytes; if it were more, all channels of the replay are told to reload, as `slow`.

    Returns:
        What is granted, by channel, in the order of the grants; and the frames.
    """
    granted: dict[str, Granted] = {}
    replays: list[list[Entry]] = []
    for channel, audience in grants.items():
        answer = answers[channel]
        if isinstance(answer, list):
            shown = [entry for entry in answer if entry.event is not None and is_shown(entry.event, audience, *who)]
            replays.append(shown)
            granted[channel] = Granted(audience, len(shown))
        else:
            granted[channel] = Granted(audience, 0, "restart" if isinstance(answer, Wait) else answer)
    frames: list[Frame] = []
    size = 0
    for entry in in_feed_order(replays):
        event = entry.event
        view = None if event is None else event.view(grants[event.channel])
        if event is None or view is None:
            continue
        frame = encoder.event(event, view, entry.id, entry.ts, entry.position)
        frames.append((event.channel, frame) if event.key is None else (event.channel, frame, event.key))
        size += len(frame)
        if size > most:
            replayed = {channel for channel, grant in granted.items() if grant.replayed}
            return granted | {channel: Granted(grants[channel], 0, "slow") for channel in replayed}, []
    return granted, frames

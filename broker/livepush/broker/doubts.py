"""Why a feed that has its connections is not ready, in words for whoever runs it: the likely cause and a remedy."""

from __future__ import annotations

from livepush.broker import topology
from livepush.broker.attachment import Doubt
from livepush.broker.errors import ConnectionFailed

_BIND = "run `manage.py livepush topology` with a user who may; the daemon notices by itself"


def doubtful(doubt: Doubt, blocked: bool, lost: ConnectionFailed | None) -> ConnectionFailed:
    """What stands behind a doubt.

    Args:
        doubt: what was found.
        blocked: the broker has said that it takes no messages.
        lost: why there is no second connection; None: there is one.
    """
    match doubt:
        case Doubt.MARKERS:
            cause = f"the log is not bound: {topology.LOG!r} does not show what was published to marker.#"
            return ConnectionFailed(cause, _BIND)
        case Doubt.EVENTS:
            cause = (
                f"the log is not bound to event.# and control.#: {topology.LOG!r} does not show what Django published"
            )
            return ConnectionFailed(cause, _BIND)
    if lost is not None:
        return ConnectionFailed(f"no connection for markers: {lost.cause}", lost.remedy)
    if blocked:
        return ConnectionFailed(
            "the broker takes no messages: it has a memory or disk alarm", "free memory or disk; `rabbitmqctl status`"
        )
    return ConnectionFailed("the broker does not confirm a marker", "look at its alarms and its log")

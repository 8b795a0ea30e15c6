"""What waits for the commit of a transaction.

Django runs commit hooks one after the other, and a hook that raises (one not registered as robust) ends the run: the
hooks behind it are lost. Another app's mistake must not lose an event of a transaction that is committed, so the first
one in a transaction wraps `run_and_clear_commit_hooks` of that connection: whatever ends the run, ours are then run.
They can't be moved to the front of the list instead, because `captureOnCommitCallbacks` in a site's tests counts its
entries.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

Hook = Callable[[], object]

_log = logging.getLogger("livepush")


class Waiting:
    """Something that is to happen at a commit."""

    __slots__ = ()

    def hand_over(self) -> None:
        """Does it, once, however often Django, or a test, runs the hook."""
        raise NotImplementedError


def at_commit(connection: BaseDatabaseWrapper, thing: Waiting) -> None:
    """Has it handed over when this connection's transaction is committed, and never if that is rolled back."""
    _protect(connection)
    connection.on_commit(thing.hand_over, robust=True)


def is_waiting(connection: BaseDatabaseWrapper, thing: Waiting) -> bool:
    """Whether the commit may still come, or is there and other hooks are being run before its own."""
    under_way: list[Hook] = getattr(connection.run_and_clear_commit_hooks, "under_way", [])
    return thing.hand_over in _hooks(connection) or thing.hand_over in under_way


def last_waiting(connection: BaseDatabaseWrapper) -> Waiting | None:
    """What was registered last, if it is ours and stands or falls with what is registered now.

    `atomic(savepoint=False)`, as around each change of a many-to-many field, is a None among the savepoints, and can't
    be rolled back alone.
    """
    entries: list[tuple[Any, ...]] = list(connection.run_on_commit[-1:])
    if not entries or entries[0][0] - {None} != set(connection.savepoint_ids) - {None}:
        return None
    thing = getattr(entries[0][1], "__self__", None)
    return thing if isinstance(thing, Waiting) else None


def _hooks(connection: BaseDatabaseWrapper) -> list[Hook]:
    """The commit hooks that wait, everybody's."""
    entries: list[tuple[Any, ...]] = list(connection.run_on_commit)
    return [entry[1] for entry in entries]


def _protect(connection: BaseDatabaseWrapper) -> None:
    """Sees to it that another app's hook that raises doesn't end the run before ours."""
    run_hooks = connection.run_and_clear_commit_hooks
    if hasattr(run_hooks, "under_way"):
        return

    @functools.wraps(run_hooks)
    def run() -> None:
        ours = [hook for hook in _hooks(connection) if isinstance(getattr(hook, "__self__", None), Waiting)]
        before: list[Hook] = run.under_way  # type: ignore[attr-defined] # a hook may commit a transaction of its own
        run.under_way = before + ours  # type: ignore[attr-defined]
        try:
            run_hooks()
        finally:
            still_waiting = _hooks(connection)  # all, when Django refused to begin
            for hook in ours:
                if hook not in still_waiting:
                    _run_robustly(hook)
            run.under_way = before  # type: ignore[attr-defined]

    run.under_way = []  # type: ignore[attr-defined]
    connection.run_and_clear_commit_hooks = run  # type: ignore[method-assign]


def _run_robustly(hook: Hook) -> None:
    try:
        hook()
    except Exception:  # as Django does with a robust hook: what it costs is this one event
        _log.exception("livepush: an event could not be handed over at the commit")

"""`manage.py livepush kick`: ends connections by hand, in every process.

USER            by the name that he logs in with
--pk PK         by the primary key, also of a user who is deleted
--session       of one browser; the session's key comes by standard input, because others can read a command line
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from concurrent.futures import Future
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from livepush.broker.errors import Unroutable
from livepush.django.control import DISCONNECTED, Controls, controls
from livepush.django.management.confirming import confirmed


def add_arguments(action: ArgumentParser) -> None:
    """The options of `kick`."""
    action.add_argument("user", nargs="?", help="the name that he logs in with")
    action.add_argument("--pk", help="the primary key of a user, in place of his name")
    action.add_argument("--session", action="store_true", help="read the key of a session from standard input")
    action.add_argument("--why", default=DISCONNECTED, help=f"the reason that browsers are told [{DISCONNECTED}]")


def kick(options: dict[str, Any], seconds: float, controls: Controls = controls) -> str:
    """Ends them.

    Args:
        options: as `add_arguments` has them.
        seconds: to wait for the broker.
        controls: the site's.

    Returns:
        What was done.

    Raises:
        CommandError: whom is not said, or there is no such user, or the broker has not confirmed it.
    """
    ticket: Future[str | None] | None
    try:
        ticket = controls.disconnect(_whom(options), options["why"])
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from None
    assert ticket is not None, "a command has no transaction open"
    return confirmed(partial(_outcome, ticket), seconds, "not told")


def _outcome(ticket: Future[str | None], seconds: float) -> str:
    try:
        ticket.result(seconds)
    except Unroutable:
        return "no daemon is there, so nobody was connected"
    return "told: these connections end in every daemon"


def _whom(options: dict[str, Any]) -> Any:
    given = [name for name in ("user", "pk", "session") if options[name] not in (None, False)]
    if len(given) != 1:
        raise CommandError("say whom: a user's name, --pk PK or --session")
    users = get_user_model()
    if options["session"]:
        return sys.stdin.readline().strip()
    if options["pk"] is not None:
        try:
            return users(pk=users._meta.pk.to_python(options["pk"]))
        except ValidationError as error:
            raise CommandError(
                f"--pk {options['pk']!r}: is no primary key of a user ({' '.join(error.messages)})"
            ) from None
    try:
        return users._default_manager.get_by_natural_key(options["user"])  # type: ignore[attr-defined]
    except users.DoesNotExist:
        raise CommandError(f"there is no user {options['user']!r}; --pk names one who is deleted") from None

"""What a publisher says, one kind after the other, so that every way of being told and not being told is among it."""

from __future__ import annotations

import random
import time
from functools import cache
from typing import Any

from django.contrib.auth import get_user_model

from livepush.django import user_channel

from .journal import Journal

ROOMS = 3
KEYS = 5


@cache
def user(number: int) -> Any:
    """One of the users, without a query each time."""
    found = get_user_model().objects.order_by("pk")
    return found[number % found.count()]


def say(journal: Journal, number: int, *, request: Any = None, **more: Any) -> float:
    """Publishes the event of this number; the seconds that livepush took for it.

    Args:
        journal: who tells of it.
        number: which kind; any whole number.
        request: whose tab is left out, of the kind that leaves one out.
        more: for `Journal.publish`.
    """
    kind, whom = number % 10, number // 10
    match kind:
        case 0 | 1:
            return journal.publish("orders", "lock", views={"moderator": {"by": "Ada"}}, **more)
        case 2:
            return journal.publish("orders", "removed", views={"client": None}, **more)
        case 3:
            return journal.publish("orders", "lock", only="client", **more)
        case 4:
            return journal.publish("news", "note", only=[user(whom), user(whom + 1)], **more)
        case 5:
            version = time.monotonic_ns()
            return journal.publish("news", "state", key=f"k{random.randrange(KEYS)}", version=version, **more)
        case 6:
            return journal.publish("news", "note", skip=request if request is not None else user(whom), **more)
        case 7:
            return journal.publish(f"rooms.{whom % ROOMS}", "said", **more)
        case 8:
            return journal.publish(user_channel(user(whom)), "mail", **more)
        case _:
            return journal.publish("orders", "lock", undo=whom % 2 == 0, **more)

"""Who may hear what; the permissions are some that Django has anyway."""

from __future__ import annotations

from typing import Any

from livepush.django import Audience, CallRefused, Channel


class Orders(Channel):
    """What moderators see differs from what clients see."""

    name = "orders"
    auto = True
    audiences = [Audience("moderator", perm="auth.delete_group"), Audience("client", perm="auth.view_group")]

    def receive(self, user: Any, type: str, data: Any, **_: str) -> dict[str, Any]:  # noqa: A002 - livepush's word
        """Says what it was told."""
        if type != "echo":
            raise CallRefused("There is no such request.")
        return {"echo": data}


class Desk(Channel):
    """A desk of each user, by name, that nobody else may look at."""

    name = "desks.{owner}"
    audiences = [Audience("owner", perm=None)]

    def allows(self, user: Any, **args: str) -> bool:
        """Whether it is his own."""
        return bool(user.username == args["owner"])

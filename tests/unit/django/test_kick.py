"""`manage.py livepush kick`."""

from __future__ import annotations

import io
import sys
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError

from livepush.broker.envelope import session_hash
from livepush.broker.errors import Refused, Unroutable
from livepush.django.control import Controls
from livepush.django.management.kick import kick
from livepush.django.outlet import Outlet
from tests.cases import CommittedCase
from tests.recorder import Recorder


class KickTests(CommittedCase):
    def setUp(self) -> None:
        super().setUp()
        self.recorder = Recorder()
        self.recorder.refuse_with = Unroutable("nobody")
        self.user = User.objects.create_user("ann")

    def kick(self, **options: Any) -> str:
        controls = Controls(Outlet(lambda: self.recorder))
        return kick({"user": None, "pk": None, "session": False, "why": "enough", **options}, 1, controls)

    def test_whom(self) -> None:
        """By name, by primary key, or a session by its key, which comes by standard input."""
        self.patch(sys, "stdin", io.StringIO("a-session-key\n"))
        for options in ({"user": "ann"}, {"pk": "7"}, {"session": True}):
            self.assertEqual(self.kick(**options), "no daemon is there, so nobody was connected")
        told = [(body["user"], body["session"], body["why"]) for body in self.recorder.bodies]
        session = session_hash("a-session-key")
        self.assertEqual(told, [(str(self.user.pk), None, "enough"), ("7", None, "enough"), (None, session, "enough")])

    def test_wrong(self) -> None:
        """What can't be done is one line."""
        self.patch(sys, "stdin", io.StringIO("\n"))
        wrong: list[tuple[dict[str, Any], str]] = [
            ({}, "say whom"),
            ({"user": "ann", "pk": "7"}, "say whom"),
            ({"user": "bob"}, "there is no user 'bob'"),
            ({"pk": "bob"}, "--pk 'bob': is no primary key of a user"),
            ({"session": True}, "is empty"),
            ({"user": "ann", "why": "x" * 121}, "at most 120 bytes"),
        ]
        for options, why in wrong:
            with self.assertRaisesRegex(CommandError, why):
                self.kick(**options)

    def test_refused(self) -> None:
        """The broker says no."""
        self.recorder.refuse_with = Refused("403")
        with self.assertRaisesRegex(CommandError, "not told: Refused: 403|not told: 403"):
            self.kick(user="ann")

"""Tickets in place of a cookie."""

from __future__ import annotations

import json
import time
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core import signing
from django.test import RequestFactory, override_settings

from livepush.broker.envelope import session_hash
from livepush.django import ticket
from livepush.django.errors import BadTicket
from livepush.django.tickets import MOST_CHARS, SALT, SECONDS, is_marked, read_ticket, ticket_view
from tests.cases import DjangoCase


class TicketTests(DjangoCase):
    """What it says, and what spoils it."""

    def setUp(self) -> None:
        super().setUp()
        self.anna = User.objects.create_user("anna", password="pw")

    def refusal(self, text: str) -> str:
        error: Any = self.assertRaises(BadTicket, read_ticket, text)
        self.assertNotIn(text[:8] if len(text) > 8 else "nothing", str(error))
        return str(error.why)

    def made(self, seconds_ago: int = 0, *said: Any) -> str:
        default = [str(self.anna.pk), "", "a" * 22, int(time.time()) - seconds_ago, None]
        return signing.Signer(salt=SALT).sign_object(list(said) or default)

    def test_ticket(self) -> None:
        """Its user, his password of now, and a word of its own; nothing of the session or the password is in it."""
        first, second = read_ticket(ticket(self.anna)), read_ticket(ticket(self.anna))
        self.assertEqual((first.user, first.mark), (str(self.anna.pk), second.mark))
        self.assertNotEqual(first.word, second.word)
        self.assertTrue(is_marked(self.anna, first.mark))
        self.assertNotIn(self.anna.get_session_auth_hash()[:16], ticket(self.anna) + first.mark)
        self.anna.set_password("another")
        self.assertFalse(is_marked(self.anna, first.mark))

    def test_who_has_none(self) -> None:
        """Nobody, and what is no user."""
        self.assertIn("anonymous", str(self.assertRaises(ValueError, ticket, AnonymousUser())))
        self.assertRaises(ValueError, ticket, User())
        self.assertRaises(TypeError, ticket, self.anna.pk)

    def test_age(self) -> None:
        """Half a minute, also where the daemon's clock is behind by so much."""
        self.assertEqual(read_ticket(self.made(SECONDS - 2)).user, str(self.anna.pk))
        self.assertEqual(read_ticket(self.made(2 - SECONDS)).user, str(self.anna.pk))
        for seconds in (SECONDS + 2, -SECONDS - 2):
            self.assertIn("30 s", self.refusal(self.made(seconds)))

    def test_forged(self) -> None:
        """A letter changed, another site's, one signed for something else, no ticket at all: refused alike."""
        good = ticket(self.anna)
        swapped = "A" if good[3] != "A" else "B"
        with override_settings(SECRET_KEY="another site's key, as long as it has to be for Django's checks"):
            foreign = ticket(self.anna)
        other = signing.Signer(salt="django.core.signing").sign_object(["7", "", "a" * 22, int(time.time())])
        for text in (good[:3] + swapped + good[4:], good[:-1], foreign, other, "", ":", "é:é", "\x00", "a:b:c"):
            self.assertIn("signature", self.refusal(text))
        self.assertIn("long", self.refusal("a" * (MOST_CHARS + 1)))

    def test_signed_and_senseless(self) -> None:
        """What this site signed with this salt and is no ticket is none."""
        word = "a" * 22
        for said in (["7", "", "short", 0], [7, "", word, 0], ["7", "", word, "0"], ["7", "", "a b" * 9, 0]):
            self.assertIn("known", self.refusal(self.made(0, *said, None)))
        self.assertIn("known", self.refusal(self.made(0, "7", "", word, 0, 5)))
        self.assertIn("signature", self.refusal(self.made(0, "7")))

    def test_secret_key_rotated(self) -> None:
        """A ticket of the key before is good as long as that is a fallback."""
        old, new = "the key before, as long as it has to be for Django's own checks", "the key after" * 5
        with override_settings(SECRET_KEY=old):
            text = ticket(self.anna)
        with override_settings(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[old]):
            self.assertEqual(read_ticket(text).user, str(self.anna.pk))
        with override_settings(SECRET_KEY=new):
            self.refusal(text)


class ViewTests(DjangoCase):
    """The address at which a page gets one."""

    def ask(self, user: Any, method: str = "post") -> Any:
        request = getattr(RequestFactory(), method)("/ticket/")
        request.user = user
        request.session = SessionStore("k" * 32)
        return ticket_view(request)

    def test_view(self) -> None:
        """A ticket for who is logged in, which no cache keeps; nobody gets none; a link gets none."""
        anna = User.objects.create_user("anna", password="pw")
        response = self.ask(anna)
        said = json.loads(response.content)
        self.assertEqual(read_ticket(said["ticket"]).origin, session_hash("k" * 32))
        self.assertIsNone(read_ticket(ticket(anna)).origin)
        self.assertEqual((read_ticket(said["ticket"]).user, said["seconds"]), (str(anna.pk), SECONDS))
        self.assertIn("no-store", response["Cache-Control"])
        self.assertEqual(self.ask(AnonymousUser()).status_code, 403)
        self.assertEqual(self.ask(anna, "get").status_code, 405)

"""Connections that show a ticket in place of a cookie."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib.auth.models import User
from django.utils.crypto import get_random_string
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Event, session_hash
from livepush.daemon.connection import Connection
from livepush.daemon.errors import Busy
from livepush.daemon.reader import Question, Reader
from livepush.daemon.settings import Limits
from livepush.django.tickets import mark_of, read_ticket, ticket
from tests.cases import DjangoCase
from tests.unit.daemon.doubles import (
    CODEC,
    ENCODER,
    Browser,
    FakeIdentity,
    FakeLink,
    make_client,
    make_hub,
    make_snapshot,
)
from tests.unit.daemon.site_doubles import grant, make_registry, make_settings


class Stranger(Browser):
    """A client without any cookie; its ticket is `good`."""

    def __init__(self, hub: Any, greets: bool = True, waits: bool = False) -> None:
        self.link, self.identity = FakeLink(), FakeIdentity(None, waits)
        self.identity.tickets["good"] = make_client()
        self.connection = Connection(hub, self.identity, ENCODER, CODEC, Limits(), self.link, greets, None)
        self.link.gone = self.connection.closed
        self.connection.opened("")


class ConnectionTests(SynchronousTestCase):
    """Nobody until the greeting, and then somebody or gone."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = make_hub(self.clock)

    def test_good(self) -> None:
        """He is who the ticket says, with all that follows: his channels, his rights, his events."""
        stranger = Stranger(self.hub)
        self.assertEqual((stranger.link.code, stranger.link.written), (None, []))
        (welcome,) = stranger.says(op="hello", n=0, ticket="good")
        self.assertEqual((welcome["user"], set(welcome["channels"])), (7, {"orders", "user.7"}))
        self.hub.event(Event("user.7", "told", {}), "p-1", 9, 50)
        self.hub.flush()
        self.assertEqual(stranger.link.ops(), ["event"])
        self.hub.control(Control("identity", "7"))
        self.assertEqual(stranger.identity.asked[-1], "reidentify")

    def test_not_good(self) -> None:
        """A ticket that is nobody's, or no ticket, is 4401; nothing was said to it, and nothing is left of it."""
        for hello in ({"ticket": "bad"}, {}):
            stranger = Stranger(self.hub)
            self.assertEqual((stranger.says(op="hello", n=0, **hello), stranger.link.code), ([], 4401))
        self.assertEqual((self.hub.connections, self.hub._users, self.clock.getDelayedCalls()), (0, {}, []))

    def test_silent(self) -> None:
        """Who says nothing is closed in time; who asks for something before it is told to greet."""
        stranger = Stranger(self.hub)
        self.assertEqual(stranger.says(op="subscribe", n=1, channel="orders")[0]["code"], "unexpected")
        self.clock.advance(10)
        self.assertEqual(stranger.link.code, 4408)

    def test_who_does_not_greet(self) -> None:
        """A listener has no word for a ticket: without a cookie he is nobody at once."""
        self.assertEqual(Stranger(self.hub, greets=False).link.code, 4401)

    def test_a_void_cookie(self) -> None:
        """Who shows one is somebody whose login has ended, and is told so at once."""
        self.assertEqual(Browser(self.hub, None).link.code, 4401)

    def test_in_place_of_a_cookie(self) -> None:
        """The ticket says who it is, whatever the cookie says; and what is for the cookie's user is not for him."""
        browser = Browser(self.hub, make_snapshot(9))
        browser.identity.tickets["good"] = make_client()
        (welcome,) = browser.says(op="hello", n=0, ticket="good")
        self.assertEqual((welcome["user"], list(self.hub._users)), (7, ["7"]))
        self.hub.event(Event("user.9", "told", {}), "p-1", 9, 50)
        self.hub.flush()
        self.assertEqual(browser.link.written, [])

    def test_too_late(self) -> None:
        """Who listens as somebody already does not become another one."""
        listener = Browser(self.hub, make_client(9), greets=False)
        listener.identity.tickets["good"] = make_client()
        (error,) = listener.says(op="hello", n=0, ticket="good")
        self.assertEqual((error["code"], listener.connection.user), ("unexpected", "9"))

    def test_logout(self) -> None:
        """The logout of the session in which he got it ends his connection, and one by a ticket that was under way."""
        stranger, other = Stranger(self.hub), Stranger(self.hub)
        mine = replace(make_client(), session_key=None, origin=session_hash("where he got it"))
        stranger.identity.tickets["good"] = mine
        stranger.greets(ticket="good")
        other.greets(ticket="good")
        late = Stranger(self.hub)
        late.identity.waits = True
        late.says(op="hello", n=0, ticket="good")
        self.hub.control(Control("logout", "7", session_hash("where he got it")))
        late.answered(mine)
        self.assertEqual([each.link.code for each in (stranger, late, other)], [4401, 4401, None])

    def test_where_each_got_it(self) -> None:
        """Two pages of a user, by tickets of two sessions, are looked at anew at once: each still ends with its own."""
        strangers = [Stranger(self.hub), Stranger(self.hub)]
        for stranger, key in zip(strangers, "ab", strict=True):
            found = replace(make_client(), session_key=None, origin=session_hash(key))
            stranger.identity.tickets["good"] = stranger.identity.snapshot = found
            stranger.greets(ticket="good")
        strangers[0].identity.waits = True
        self.hub.control(Control("identity", "7"))
        strangers[0].answered()
        self.hub.control(Control("logout", "7", session_hash("b")))
        self.assertEqual([each.link.code for each in strangers], [None, 4401])

    def test_busy(self) -> None:
        """Where nobody can say now whether it is good he comes back later."""
        stranger = Stranger(self.hub)
        stranger.identity.waits = True
        stranger.says(op="hello", n=0, ticket="good")
        stranger.identity.waiting.pop().errback(Busy())
        self.assertEqual(stranger.link.code, 4029)

    def test_gone_meanwhile(self) -> None:
        """Who has gone when the answer comes is nobody's."""
        stranger = Stranger(self.hub)
        stranger.identity.waits = True
        stranger.says(op="hello", n=0, ticket="good")
        stranger.connection.closed()
        stranger.answered()
        self.assertEqual((self.hub.connections, self.hub._users), (0, {}))

    def test_revoked_meanwhile(self) -> None:
        """A message that concerns him while the ticket is looked at: he is looked at again before he is welcome."""
        stranger = Stranger(self.hub)
        stranger.identity.waits = True
        stranger.says(op="hello", n=0, ticket="good")
        self.hub.control(Control("identity", "7"))
        stranger.identity.snapshot = make_snapshot(7)
        stranger.answered()
        self.assertEqual((stranger.link.messages(), stranger.identity.asked[-1]), ([], "reidentify"))
        stranger.answered()
        (welcome,) = stranger.link.messages()
        self.assertEqual(set(welcome["channels"]), {"user.7"})


class ReaderTests(DjangoCase):
    """Whose ticket that is, and whether he may still log in."""

    def setUp(self) -> None:
        super().setUp()
        self.anna = User.objects.create_user("anna", password="pw")
        grant(self.anna, "add_group")
        self.reader = Reader(make_settings(), make_registry())

    def look(self, text: str) -> Any:
        said = read_ticket(text)
        return self.reader.look([Question("", said.user, mark=said.mark, origin=said.origin)])[0]

    def test_snapshot(self) -> None:
        """As by a cookie, without a session; and he is looked at anew as one."""
        found = self.look(ticket(self.anna))
        self.assertEqual((found.user, found.session_key), (str(self.anna.pk), None))
        self.assertEqual(found.permissions, frozenset({"auth.add_group"}))
        self.assertEqual((found.origin, found.session_name), (None, None))
        self.assertEqual(self.reader.reidentify(found), found)
        named = self.look(ticket(self.anna, session="k" * 32))
        self.assertEqual((named.session_key, named.session_name), (None, session_hash("k" * 32)))
        self.assertEqual(self.reader.reidentify(named), named)
        self.anna.set_password("another")
        self.anna.save()
        self.assertIsNone(self.reader.reidentify(found))

    def test_ended(self) -> None:
        """Another password since it was made, a user who is blocked or deleted: nobody."""
        texts = [ticket(self.anna) for _ in range(3)]
        self.assertEqual(read_ticket(texts[0]).mark, mark_of(self.anna))
        self.anna.is_active = False
        self.anna.save()
        self.assertIsNone(self.look(texts[0]))
        self.anna.is_active = True
        self.anna.set_password(get_random_string(12))
        self.anna.save()
        self.assertIsNone(self.look(texts[1]))
        fresh = ticket(self.anna)
        self.anna.delete()
        self.assertIsNone(self.look(fresh))

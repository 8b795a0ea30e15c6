"""Cases 5-6, 11-13 and 36: cookies that are nobody's, somebody else's, or not any more."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets

from tests.acceptance.security.case import NATIVE, ORIGIN, POLLING, SOCKJS, STREAM, SecurityCase
from tests.clients.websocket import WebSocket
from tests.servers.ports import free_port

GARBAGE = (
    "",
    "x",
    "x" * 5_000,
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "a\x00b",
    "a\x7fb\xff",
    "' OR 1=1 --",
    "{{7*7}}",
    '"quoted; value"',
    "$(id)",
    "%n%n%n%s%s",
    "eyJfYXV0aF91c2VyX2lkIjoiMSJ9:1tTtTt:" + "A" * 43,  # as signed_cookies has them
    base64.b64encode(b'x:{"_auth_user_id":"1"}').decode(),  # as Django 1 had them
)


class CookieTests(SecurityCase):
    """Who is nobody."""

    def assert_nobody(self, cookie: str) -> None:
        """Each way in answers as it should, and the log does not repeat the value."""
        headers = [("Origin", ORIGIN), ("Cookie", cookie)]
        client = self.socket(NATIVE, headers, subprotocols=["livepush.v1"])
        self.assertIn(client.status, (101, 400), cookie)
        if client.status == 101:
            with contextlib.suppress(OSError):  # most are closed by now
                client.send_json({"op": "hello", "n": 0})
            self.assertEqual(client.receive_close().code, 4401, cookie)
        with self.ask("GET", STREAM, headers) as exchange:
            self.assertIn(exchange.status, (400, 401, 403), cookie)
        with self.ask("POST", f"{SOCKJS}/0/{secrets.token_hex(8)}/xhr", headers, b"") as exchange:
            self.assertIn(exchange.status, (200, 400), cookie)
            self.assertTrue(exchange.status == 400 or exchange.rest() == b"o\n" or b"4401" in exchange.rest())
        value = cookie.partition("=")[2]
        if len(value) > 8:
            self.assertNotIn(value[:40], self.world.daemon.output)

    def test_05_garbage(self) -> None:
        """Attack: cookies that are empty, huge, binary, paths, or foreign-signed; and no cookie at all."""
        for value in GARBAGE:
            self.assert_nobody(f"sessionid={value}")
        for cookie in ("sessionid", "=", ";;;;", "sessionid=a; sessionid=b", "a" * 3_000):
            self.assert_nobody(cookie)
        with self.socket(NATIVE, [("Origin", ORIGIN)], subprotocols=["livepush.v1"]) as client:
            client.send_json({"op": "hello", "n": 0})
            self.assertEqual(client.receive_close().code, 4401)

    def test_05_truncated(self) -> None:
        """Attack: parts of a real session's key, and the key with something behind it."""
        session = self.world.visitor().session
        for value in (session[:-1], session[:8], session + "x", session.upper(), f" {session[:-1]}\\", session[::-1]):
            self.assert_nobody(f"sessionid={value}")

    def test_06_expired(self) -> None:
        """Attack: a stolen cookie whose session is past its end."""
        visitor = self.world.visitor()
        witness = self.page(visitor)
        self.world.site(
            "import datetime\n"
            "past = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)\n"
            "Session.objects.filter(session_key=key).update(expire_date=past)",
            key=visitor.session,
        )
        self.world.site(
            "from livepush.django.control import identity_changed\nidentity_changed(user)", user=visitor.user
        )
        witness.receive_close()  # else the daemon may know the session from a moment ago
        client = self.page(visitor, hello=False)
        self.assertEqual(client.receive_close().code, 4401)

    def test_36_the_same_answer(self) -> None:
        """Attack: tell an expired or ended session from one that never was by what is answered."""
        ended = self.world.visitor()
        self.world.site("Session.objects.filter(session_key=key).delete() and None", key=ended.session)
        answers = []
        for session in (ended.session, secrets.token_hex(16)):
            client = self.page(ended.with_session(session), hello=False)
            end = client.receive_close()
            with self.ask("GET", STREAM, ended.with_session(session).headers) as exchange:
                answers.append((end.code, end.reason, exchange.status, exchange.rest()))
        self.assertEqual(answers[0], answers[1])


class FixationTests(SecurityCase):
    """Identity is fixed at the handshake."""

    def test_11_login_beside_a_socket(self) -> None:
        """Attack: a socket that was opened before the login goes on as the one who has logged in."""
        visitor = self.world.visitor()
        client = self.page(visitor)
        pk = self.world.site(
            "other = User.objects.create_user(name, password='x')\n"
            "page = browser()\n"
            "page.cookies['sessionid'] = session\n"
            "assert page.post('/login/', {'username': name, 'password': 'x'}).status_code == 302\n"
            "other.pk",
            name=f"fixed-{secrets.token_hex(4)}",
            session=visitor.session,
        )
        self.world.publish("secret", {"secret": 1}, f"user.{pk}")
        client.send_json({"op": "subscribe", "n": 1, "channel": f"user.{pk}"})
        heard = self.heard_until(client, lambda message: message.get("n") == 1)
        self.assertNotIn("secret", json.dumps(heard))
        self.assertTrue(not heard or heard[-1].get("op") == "error", heard)

    def test_12_rotated_key(self) -> None:
        """Not an attack but its remedy: SECRET_KEY is changed, with the old one as a fallback; all stay logged in."""
        visitor = self.world.visitor()
        port = free_port()
        before = self.row(visitor.session)
        daemon = self.world.start(
            port, GUARDED_SECRET=secrets.token_hex(24), GUARDED_FALLBACKS=self.world.variables["GUARDED_SECRET"]
        )
        self.addCleanup(daemon.kill)
        daemon.wait_for("Feed ready")
        self.page(visitor, port=port).close()
        self.assertEqual(self.row(visitor.session), before)

    def row(self, session: str) -> object:
        """What the database has of a session."""
        return self.world.site("list(Session.objects.filter(session_key=key).values())", key=session)


class HijackTests(SecurityCase):
    """Ids of sessions are no keys."""

    def test_13_somebody_elses_session(self) -> None:
        """Attack: who is logged in himself uses the Engine.IO sid or the SockJS session of another user."""
        victim, thief = self.world.visitor(), self.world.visitor()
        engine, sockjs = self.polled(victim), self.sockjs(victim)
        self.world.publish("secret", {"secret": victim.user}, f"user.{victim.user}")
        for headers in (thief.headers, [("Origin", ORIGIN)]):
            for method, path, body, status in (
                ("GET", engine, None, 400),
                ("POST", engine, b"41", 400),
                ("POST", f"{sockjs}/xhr", b"", 404),
                ("POST", f"{sockjs}/xhr_send", b'["{}"]', 404),
                ("POST", f"{sockjs}/xhr_streaming", b"", 404),
                ("GET", f"{sockjs}/eventsource", None, 404),
            ):
                with self.ask(method, path, headers, body) as exchange:
                    self.assertEqual(exchange.status, status, path)
                    self.assertNotIn(b"secret", exchange.rest())
            with self.socket(engine.replace("polling", "websocket"), headers) as client:
                self.assertEqual(client.status, 400)
        for method, path in (("GET", engine), ("POST", f"{sockjs}/xhr")):
            with self.ask(method, path, victim.headers, b"" if method == "POST" else None) as exchange:
                self.assertIn(b"secret", exchange.rest(), "the owner hears of it")

    def test_13_guessed_ids(self) -> None:
        """Attack: ids of Engine.IO are tried out; they are long, and no two look alike."""
        sids = {self.polled(self.world.visitor()).partition("sid=")[2] for _ in range(3)}
        self.assertTrue(all(len(sid) >= 20 for sid in sids), sids)
        self.assertEqual(len({sid[:8] for sid in sids}), 3)
        for _ in range(50):
            with self.ask("GET", f"{POLLING}&sid={secrets.token_urlsafe(15)}", [("Origin", ORIGIN)]) as exchange:
                self.assertEqual(exchange.status, 400)


class TicketTests(SecurityCase):
    """Tickets in place of cookies."""

    def by_ticket(self, ticket: str, port: int) -> WebSocket:
        """A native program's connection, which has said hello with a ticket."""
        client = self.socket(NATIVE, [], port=port, subprotocols=["livepush.v1"])
        self.assertEqual(client.status, 101)
        client.send_json({"op": "hello", "n": 0, "ticket": ticket})
        return client

    def test_shown_again(self) -> None:
        """Attack: a ticket that was seen on its way is shown again, to the same process and to another one."""
        visitor = self.world.visitor()
        told = "from livepush.django import ticket\nticket(User.objects.get(pk=pk))"
        ticket = self.world.site(told, pk=visitor.user)
        first = self.by_ticket(ticket, self.world.legacy_port)
        self.assertEqual(first.receive_json()["user"], visitor.user)
        for port in (self.world.legacy_port, self.world.port):
            self.assertEqual(self.by_ticket(ticket, port).receive_close().code, 4401)

    def test_made_up(self) -> None:
        """Attack: a ticket is changed, cut, or signed for something else."""
        visitor, other = self.world.visitor(), self.world.visitor()
        told = "from livepush.django import ticket\nticket(User.objects.get(pk=pk))"
        ticket = self.world.site(told, pk=visitor.user)
        signed = self.world.site(
            "from django.core import signing\nsigning.dumps([str(pk), '', 'x' * 20, 0])", pk=other.user
        )
        body, _, mac = ticket.rpartition(":")
        for wrong in (ticket[:-1], f"{body}x:{mac}", f"{body}:{mac[::-1]}", signed, "x", "a:" * 400, ticket + "\n"):
            self.assertIn(self.by_ticket(wrong, self.world.port).receive_close().code, (4400, 4401), wrong)
        self.assertEqual(self.by_ticket(ticket, self.world.port).receive_json()["op"], "welcome")

"""What a site says of connections, and the password that somebody changes himself."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.acceptance.revocation.case import EarsCase
from tests.acceptance.revocation.ears import Ear, SocketEar, StreamEar
from tests.acceptance.security.world import PASSWORD, PROJECT
from tests.servers.daemon import clean_environment

SECONDS = 3.0
"""Promised is one; a machine that runs tests may be slow."""

_OWN_PASSWORD = """
from django.contrib.auth import authenticate, update_session_auth_hash
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
request = HttpRequest()
request.session = SessionStore(key)
request.user = User.objects.get(pk=pk)
request.user.set_password("another")
request.user.save()
update_session_auth_hash(request, request.user)
request.session.save()
request.session.session_key
"""


class DisconnectTests(EarsCase):
    """Connections that end because the site says so."""

    def assert_ended(self, ears: list[Ear], code: bytes) -> None:
        """All of them, in time, and with this code where the format has one."""
        begun = time.monotonic()
        for ear in ears:
            self.assertTrue(ear.wait_for_the_end(), ear.raw[-200:])
        self.assertLess(time.monotonic() - begun, SECONDS)
        for number, ear in enumerate(ears):
            found = ear.raw[-200:]
            end = (code, str(int.from_bytes(code, "big")).encode())
            self.assertTrue(any(each in found for each in end) or number % 4 == 3, found)

    def test_a_user(self) -> None:
        """All of his pages end with the reason; he may come back, and another user has noticed nothing."""
        visitor, other = self.world.visitor(), self.world.visitor()
        ears, others = self.ears(visitor), self.ears(other)
        self.world.site("livepush.disconnect(User.objects.get(pk=pk), 'enough')", pk=visitor.user)
        self.assert_ended(ears, (4401).to_bytes(2, "big"))
        self.assertTrue(all(b"enough" in ear.raw for number, ear in enumerate(ears) if number % 4 != 3))
        self.mark(others, other)
        self.page(visitor)

    def test_by_hand(self) -> None:
        """`manage.py livepush kick --session` reads the key; the user's other browser goes on."""
        visitor = self.world.visitor()
        session = self.world.site(
            "page = browser()\npage.post('/login/', {'username': name, 'password': password})\n"
            "page.cookies['sessionid'].value",
            name=visitor.name,
            password=PASSWORD,
        )
        ears, others = self.ears(visitor), self.ears(visitor.with_session(session))
        done = subprocess.run(
            [sys.executable, "-m", "django", "livepush", "kick", "--session"],
            input=visitor.session,
            env=clean_environment(**self.world.variables),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(
            (done.returncode, done.stdout), (0, "told: these connections end in every daemon\n"), done.stderr
        )
        self.assert_ended(ears, (4401).to_bytes(2, "big"))
        self.mark(others, visitor)

    def test_own_password(self) -> None:
        """The browser in which the password was changed is asked to come back with its new cookie; others are out."""
        visitor = self.world.visitor()
        elsewhere = self.world.site(
            "page = browser()\npage.post('/login/', {'username': name, 'password': password})\n"
            "page.cookies['sessionid'].value",
            name=visitor.name,
            password=PASSWORD,
        )
        ears, others = self.ears(visitor), self.ears(visitor.with_session(elsewhere))
        session = self.world.site(_OWN_PASSWORD, pk=visitor.user, key=visitor.session)
        self.assert_ended(ears, (4001).to_bytes(2, "big"))
        self.assert_ended(others, (4401).to_bytes(2, "big"))
        self.page(visitor.with_session(session))
        for key in (visitor.session, elsewhere):
            self.assertEqual(self.page(visitor.with_session(key), hello=False).receive_close().code, 4401)


class RevokeTests(EarsCase):
    """A rule of the site's that says something else now."""

    def test_a_channel(self) -> None:
        """What `Channel.allows` reads has changed: `gone`, and `back` when it says yes again; other channels go on."""
        visitor = self.world.visitor()
        desk = f"desks.{visitor.name}"
        ears: list[Ear] = []
        for port in self.ports:
            client = self.page(visitor, port=port)
            client.send_json({"op": "subscribe", "n": 1, "channel": desk})
            self.assertEqual(client.receive_json()["op"], "ok")
            ears += [
                SocketEar(client),
                StreamEar(self.stream(visitor, f"/livepush/sse?channels=orders,{desk}", port=port)),
            ]
        for ear in ears:
            self.addCleanup(ear.close)
            ear.start()
        rename = "User.objects.filter(pk=pk).update(username=name)\nlivepush.revoke(pk, channel)\n"
        self.world.site(
            rename + "publish(channel, 'note', {'word': 'secret'})\nNone",
            pk=visitor.user,
            name=f"{visitor.name}-moved",
            channel=desk,
        )
        for ear in ears:
            self.assertTrue(ear.wait_for("gone"), ear.raw[-300:])
            self.assertNotIn(b"secret", ear.raw)
        self.world.site(rename + "None", pk=visitor.user, name=visitor.name, channel=desk)
        for ear in ears:
            self.assertTrue(ear.wait_for("back"), ear.raw[-300:])
            self.assertNotIn(b"secret", ear.raw)

"""A thousand changes of a right while events are published: what was forbidden reaches nobody, as bytes."""

from __future__ import annotations

import re
import secrets

from tests.acceptance.revocation.case import EarsCase
from tests.acceptance.revocation.ears import Ear

CYCLES = 500
"""Each takes the right away and gives it back."""

ROW = 10
"""So many cycles in a row; then he is somebody who is known again, or what follows would find him suspended still."""

_FLIP = """
import time
user = User.objects.get(pk=pk)
right = Permission.objects.get(codename="delete_group")
granted = []
for number in range(first, first + cycles):
    user.user_permissions.remove(right)
    for part in range(3):
        views = {"moderator": {"secret": f"{word}{number}x"}, "client": {"plain": number}}
        publication = publish("orders", "flip", {}, views=views)
    publication.result(30)  # the broker has them, so both processes have, or will have in a moment
    granted.append(time.monotonic())
    user.user_permissions.add(right)
granted
"""


class LeakTests(EarsCase):
    """A client of the orders who is a moderator, and is not, and is."""

    def test_flips(self) -> None:
        """What was published while he was no moderator, moderators' view of it, is there in none of his connections
        before he was one again. He may see it then: rights are judged when an event is handed over."""
        visitor = self.world.visitor("view_group", "delete_group")
        witness = self.world.visitor("view_group", "delete_group")
        ears, seen = self.ears(visitor), self.ears(witness)[:1]
        word = f"canary{secrets.token_hex(6)}n"
        granted: list[float] = []
        for first in range(0, CYCLES, ROW):
            granted += self.world.site(_FLIP, pk=visitor.user, word=word, first=first, cycles=ROW)
            self.mark(ears, visitor)
        self.mark(seen, witness)
        self.assertEqual(len(self.heard(seen[0], word)), CYCLES, "the witness sees the moderators' view of each")
        for ear in ears:
            early = {number: granted[number] - when for number, when in self.heard(ear, word).items()}
            self.assertEqual({number: by for number, by in early.items() if by > 0}, {})
            self.assertTrue(b'"plain"' in ear.raw or rb"\"plain\"" in ear.raw, "he hears what clients may")

    def test_for_good(self) -> None:
        """Taken away at last, it stays away: the bytes of no connection hold what comes after, polls that were not
        there then included."""
        visitor = self.world.visitor("view_group", "delete_group")
        polled = [(self.polled(visitor, port=port), self.sockjs(visitor, port=port), port) for port in self.ports]
        ears = self.ears(visitor)
        word = f"canary{secrets.token_hex(6)}n"
        self.world.site(
            "for number in range(10):\n"
            "    publish('orders', 'before', {}, views={'moderator': {'secret': 'before'}})\n"
            "User.objects.get(pk=pk).user_permissions.remove(Permission.objects.get(codename='delete_group'))\n"
            "for number in range(100):\n"
            "    publish('orders', 'flip', {}, views={'moderator': {'secret': f'{word}{number}x'}})",
            pk=visitor.user,
            word=word,
        )
        self.mark(ears, visitor)
        for ear in ears:
            self.assertEqual(self.heard(ear, word), {})
        for engine, session, port in polled:
            for method, path in (("GET", engine), ("POST", f"{session}/xhr")):
                body = b"" if method == "POST" else None
                said = self.ask(method, path, visitor.headers, body, port=port).rest()
                self.assertNotIn(word.encode(), said)
                self.assertIn(b"back", said)

    def heard(self, ear: Ear, word: str) -> dict[int, float]:
        """The numbers of the secrets in its bytes, each with the first moment; one may lie across two pieces."""
        found: dict[int, float] = {}
        pattern, rest = re.compile(rf"{word}(\d+)x".encode()), b""
        for when, piece in ear.pieces:
            rest = rest[-64:] + piece
            for match in pattern.finditer(rest):
                found.setdefault(int(match[1]), when)
        return found

"""Tests of livepush.daemon.position."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.logindex import Mark
from livepush.daemon.leads import LEADS_BYTES, Leads
from livepush.daemon.position import POSITION_BYTES, Position

marks = st.one_of(
    st.just(Mark()),
    st.builds(Mark, st.integers(0, 10**18 - 1), st.from_regex(r"[A-Za-z0-9_-]{8}", fullmatch=True)),
)
named = st.dictionaries(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), st.integers(1, 2**63 - 1), max_size=6)


class PositionTests(SynchronousTestCase):
    """The text that a client keeps."""

    def test_text(self) -> None:
        """As it stands in the documentation."""
        self.assertEqual(str(Position("k3f9q2", 1207, Mark(88012, "5bd1e9a4"))), "k3f9q2.1207.88012.5bd1e9a4")
        self.assertEqual(str(Position("k3f9q2", 0, Mark())), "k3f9q2.0.-1.")
        named = "k3f9q2.1207.88012.5bd1e9a4~m3t5-b-17~k-2"
        self.assertEqual(str(Position("k3f9q2", 1207, Mark(88012, "5bd1e9a4"), "~m3t5-b-17~k-2")), named)

    @given(st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True), st.integers(0, 10**18 - 1), marks, named)
    def test_there_and_back(self, nonce: str, index: int, mark: Mark, ids: dict[str, int]) -> None:
        """What was given out can be read again, and is within the bound."""
        leads = Leads()
        for publisher, number in ids.items():
            leads.note(f"{publisher}-{number}", None)
        text = leads.text(mark.offset)
        self.assertLessEqual(len(text), LEADS_BYTES)
        position = Position(nonce, index, mark, text)
        self.assertEqual(Position.parse(str(position)), position)
        led = position.led()
        self.assertEqual(led, {publisher: ids[publisher] for publisher in led})
        self.assertEqual(len(led), text.count("~"))
        self.assertLessEqual(len(str(position)), POSITION_BYTES)

    def test_not_a_position(self) -> None:
        """Anything else is none, and costs no more than a look at its length."""
        for text in (
            "",
            "k3f9q2",
            "k.1.2",
            "k.1.2.abc",
            "k.1.-1.abcdefgh",
            "k.-1.2.abcdefgh",
            "k.01.2.abcdefgh",
            "k.1.02.abcdefgh",
            "k.1.-2.abcdefgh",
            "k.1.2.abcdefg\u00e9",
            "k.\u0661.2.abcdefgh",
            "k.1.2.abcdefgh\n",
            ".1.2.abcdefgh",
            "k" * 33 + ".1.2.abcdefgh",
            "k." + "9" * 19 + ".2.abcdefgh",
            "k.1.2.abcdefgh~",
            "k.1.2.abcdefgh~p",
            "k.1.2.abcdefgh~p-0",
            "k.1.2.abcdefgh~-1",
            "k.1.2.abcdefgh~p-1~",
            "k.1.2.abcdefgh~p-1\n",
            "k.1.2.abcdefgh" + "~p-1" * 47,
            "k.1.2.abcdefgh" * 1_000_000,
        ):
            self.assertIsNone(Position.parse(text), text[:50])

    @given(st.text(alphabet="k19.-ab~", max_size=24))
    def test_what_is_read_is_written_the_same(self, text: str) -> None:
        """There is one text for each position."""
        position = Position.parse(text)
        if position is not None:
            self.assertEqual(str(position), text)

"""Heads of requests that every server reads alike, and those that are refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon import hygiene


def of_head(
    target: bytes = b"/livepush/ws",
    version: bytes = b"HTTP/1.1",
    hosts: tuple[bytes, ...] = (b"www.example.com",),
    names: tuple[bytes, ...] = (b"Host", b"Cookie"),
    codings: tuple[bytes, ...] = (),
) -> str | None:
    """A head with nothing wrong but what is given."""
    return hygiene.of_head(target, version, hosts, names, codings)


class LineTests(SynchronousTestCase):
    """Lines as they come."""

    def test_what_browsers_send(self) -> None:
        """Text in any language passes, as UTF-8 and as old clients have it."""
        for line in (
            b"",
            b"GET / HTTP/1.1",
            b"Cookie: a=b; c=\xc3\x85ngstr\xc3\xb6m",  # \x85 within a letter
            "X: 日本語 \U0001f600".encode(),
            "X: Straße".encode("latin-1"),
            b"X:\tb\t",
        ):
            self.assertIsNone(hygiene.of_line(line), line)

    def test_folded(self) -> None:
        """A line that goes on where the last one ended is refused."""
        for line in (b" b", b"\tb", b" "):
            self.assertEqual(hygiene.of_line(line), hygiene.FOLDED)

    def test_control_characters(self) -> None:
        """None of them passes, at which some reader ends a line, or a terminal does something."""
        for number in (*range(9), *range(10, 32), 127, *range(128, 160)):
            self.assertEqual(hygiene.of_line(b"X: a%cb" % number), hygiene.CONTROL, number)
        self.assertEqual(hygiene.of_line("X: a\x85b".encode()), hygiene.CONTROL)

    @given(st.binary(max_size=200))
    def test_what_passes_is_one_line(self, line: bytes) -> None:
        """However it is decoded and split later, what has passed is one line."""
        if line and hygiene.of_line(line) is None:
            for encoding in ("latin-1", "utf-8"):
                text = line.decode(encoding, "replace")
                if encoding == "utf-8" and ("\u2028" in text or "\u2029" in text):
                    continue  # nobody decodes heads so
                if encoding == "latin-1" and any(0x80 <= byte < 0xA0 for byte in line):
                    continue  # part of a letter in UTF-8; Autobahn is not shown such a header
                self.assertEqual(len(text.splitlines()), 1, line)


class HeadTests(SynchronousTestCase):
    """Whole heads."""

    def test_right_ones(self) -> None:
        """What browsers, proxies and load balancers send."""
        self.assertIsNone(of_head())
        for host in (b"localhost:8989", b"[::1]:8989", b"10.0.0.1", b"a_b.example", b"EXAMPLE.com.", b"x:"):
            self.assertIsNone(of_head(hosts=(host,)), host)
        self.assertIsNone(of_head(version=b"HTTP/1.0", hosts=()))
        self.assertIsNone(of_head(target=b"*"))
        self.assertIsNone(of_head(codings=(b"Chunked",)))

    def test_hosts(self) -> None:
        """One Host, which is a name."""
        self.assertEqual(of_head(hosts=()), hygiene.NO_HOST)
        for version in (b"HTTP/1.1", b"HTTP/1.0"):
            self.assertEqual(of_head(version=version, hosts=(b"a", b"a")), hygiene.NO_HOST)
        for host in (b"", b"a b", b"a,b", b"a/b", b"u@a", b"<x>", b"a:b", b"a:80:80", b"\xc3\xa4", b"[::1", b"a" * 300):
            self.assertEqual(of_head(hosts=(host,)), hygiene.BAD_HOST, host)

    def test_underscores(self) -> None:
        """A name that is another one's double where names become variables."""
        self.assertEqual(of_head(names=(b"Host", b"X_Forwarded_For")), hygiene.BAD_NAME)

    def test_targets(self) -> None:
        """A path of ASCII; what a proxy is asked for is asked of the wrong one."""
        for target in (
            b"http://evil.example/",
            b"example.com:443",
            b"",
            b"a",
            b"/\xc3\xa4",
            b"/\x7f",
            b"/a b",
            b"/\x00",
        ):
            self.assertEqual(of_head(target=target), hygiene.BAD_TARGET, target)

    def test_codings(self) -> None:
        """A body's length is told in one way only."""
        for codings in ((b"identity",), (b"chunked, identity",), (b"chunked", b"chunked"), (b"gzip, chunked",)):
            self.assertEqual(of_head(codings=codings), hygiene.BAD_CODING, codings)
        self.assertEqual(of_head(version=b"HTTP/1.0", codings=(b"chunked",)), hygiene.BAD_CODING)

"""Where a client is, and whose word counts for it."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.addresses import Census, Proxies, parse, place_of

OURS = Proxies.of(["10.0.0.0/8", "::1", "unix"])
NGINX = ip_address("10.0.0.2")


class ProxiesTests(SynchronousTestCase):
    """The rightmost address that is none of ours."""

    def at(self, *forwarded_for: str, peer: str | None = "10.0.0.2", forwarded: tuple[str, ...] = ()) -> str:
        """Where a client is who came with these headers."""
        address = None if peer is None else ip_address(peer)
        return str(OURS.client(address, forwarded_for, forwarded))

    def test_a_stranger_says_what_he_likes(self) -> None:
        """Headers of whoever is no proxy of ours count for nothing."""
        self.assertEqual(self.at("198.51.100.7", peer="203.0.113.9"), "203.0.113.9")
        self.assertEqual(self.at(peer="203.0.113.9", forwarded=("for=198.51.100.7",)), "203.0.113.9")
        self.assertEqual(str(Proxies().client(NGINX, ["198.51.100.7"], [])), "10.0.0.2")

    def test_what_a_client_puts_before(self) -> None:
        """Only the address that our proxy has added counts, whatever the client has sent with it."""
        self.assertEqual(self.at("198.51.100.7"), "198.51.100.7")
        self.assertEqual(self.at("1.1.1.1, 198.51.100.7"), "198.51.100.7")
        self.assertEqual(self.at("1.1.1.1, 10.9.9.9", "198.51.100.7"), "198.51.100.7")
        self.assertEqual(self.at(*["1.1.1.1"] * 500, "198.51.100.7"), "198.51.100.7")

    def test_a_chain_of_ours(self) -> None:
        """Several proxies of ours are passed, up to the first that is not ours."""
        self.assertEqual(self.at("198.51.100.7, 10.0.0.9, 10.0.0.8"), "198.51.100.7")
        self.assertEqual(self.at("10.0.0.9, 10.0.0.8"), "10.0.0.9")
        self.assertEqual(self.at(*["10.0.0.8"] * 500), "10.0.0.8")

    def test_a_word_that_is_none(self) -> None:
        """Behind what can't be read nothing is believed: the proxy that has told it is counted."""
        for word in ("unknown", "", "_hidden", "1.2.3", "1.2.3.4.5", "1.2.3.4:x", "<script>", "1.2.3.4%0a", "\x00"):
            self.assertEqual(self.at(f"198.51.100.7, {word}"), "10.0.0.2", word)
            self.assertEqual(self.at(f"198.51.100.7, {word}, 10.0.0.8"), "10.0.0.8", word)

    def test_forwarded(self) -> None:
        """RFC 7239, in every form that it has; X-Forwarded-For goes before it."""
        for element in (
            "for=198.51.100.7",
            'For="198.51.100.7:4711"',
            "by=10.0.0.2;for=198.51.100.7;proto=https",
            'proto=https; for = "198.51.100.7" ; host=x',
            "for=1.1.1.1, for=198.51.100.7",
            'for="[2001:db8::1]", for=198.51.100.7;by=10.0.0.2',
        ):
            self.assertEqual(self.at(forwarded=(element,)), "198.51.100.7", element)
        self.assertEqual(self.at(forwarded=('for="[2001:db8::1]:80"',)), "2001:db8::1")
        self.assertEqual(self.at("198.51.100.7", forwarded=("for=1.1.1.1",)), "198.51.100.7")
        for element in ("for=unknown", "xfor=1.1.1.1", "by=1.1.1.1", 'for="1.1.1.1', "for=1.1.1.1 x", "for"):
            self.assertEqual(self.at(forwarded=(element,)), "10.0.0.2", element)

    def test_a_unix_socket(self) -> None:
        """A proxy that comes by a unix socket has no address, and is one of ours if the site says so."""
        self.assertEqual(self.at("198.51.100.7", peer=None), "198.51.100.7")
        self.assertIsNone(Proxies().client(None, ["198.51.100.7"], []))

    def test_written_otherwise(self) -> None:
        """One address is one, however it is written."""
        self.assertEqual(parse("::ffff:198.51.100.7"), parse("198.51.100.7"))
        self.assertEqual(parse("[::ffff:198.51.100.7]:80"), parse("198.51.100.7:4711"))
        self.assertEqual(parse("2001:DB8:0::1"), parse("[2001:db8::1]"))

    @given(st.lists(st.text(max_size=60), max_size=5), st.lists(st.text(max_size=60), max_size=5))
    def test_anything(self, forwarded_for: list[str], forwarded: list[str]) -> None:
        """Whatever stands there, somebody is the client, and nothing breaks."""
        self.assertIsNotNone(OURS.client(NGINX, forwarded_for, forwarded))


class PlaceTests(SynchronousTestCase):
    """What is counted as one."""

    def test_a_network_of_ipv6(self) -> None:
        """Whoever has a /64 is one, not 2^64."""
        self.assertEqual(place_of(ip_address("2001:db8::1")), place_of(ip_address("2001:db8::ffff:1:2:3")))
        self.assertNotEqual(place_of(ip_address("2001:db8::1")), place_of(ip_address("2001:db8:0:1::1")))
        self.assertNotEqual(place_of(ip_address("198.51.100.7")), place_of(ip_address("198.51.100.8")))

    def test_this_machine(self) -> None:
        """The clients of a proxy that is not named are not one client."""
        for text in ("127.0.0.1", "127.9.9.9", "::1"):
            self.assertIsNone(place_of(ip_address(text)))
        self.assertIsNone(place_of(None))


class CensusTests(SynchronousTestCase):
    """How many are where."""

    def test_coming_and_going(self) -> None:
        """Who has left is not counted, and a place that nobody is at is not kept."""
        census = Census()
        for place in ("a", "a", "b", None):
            census.enter(place)
        self.assertEqual((census.total, census.at("a"), census.at("b"), census.at(None)), (4, 2, 1, 0))
        for place in ("a", "b", "a", None):
            census.leave(place)
        self.assertEqual((census.total, census.at("a"), census._at), (0, 0, {}))

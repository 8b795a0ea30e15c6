"""Which pages may use a user's cookie."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.origin import NO_ORIGIN, NOT_ALLOWED, NOT_AN_ORIGIN, OriginSettings, only_value

SITE = OriginSettings(hosts=("good.example", "127.0.0.1", "[::1]"))

label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
domain = st.lists(label, min_size=1, max_size=4).map(".".join)
port = st.integers(1, 65535)

# A busy machine is no fault of the code.
patient = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def allows(trust: OriginSettings, origin: str, host: str | None = "good.example", secure: bool = False) -> bool:
    """Whether a page of this origin may use a cookie."""
    raw = None if host is None else host.encode()
    return trust.verdict(origin.encode(), raw, has_cookie=True, secure=secure) is None


class CookieTests(SynchronousTestCase):
    """Requests without an Origin."""

    def test_a_cookie_needs_an_origin(self) -> None:
        """A cookie that comes without an Origin opens nothing, because nobody knows which page sent it."""
        self.assertEqual(SITE.verdict(None, b"good.example", has_cookie=True), NO_ORIGIN)

    def test_a_program_without_cookies_needs_none(self) -> None:
        """A client that is no browser, without a cookie, passes on to be told who it is."""
        self.assertIsNone(SITE.verdict(None, b"good.example", has_cookie=False))
        self.assertIsNone(SITE.verdict(None, None, has_cookie=False))

    def test_a_foreign_page_is_refused_without_a_cookie_too(self) -> None:
        """An Origin is judged wherever there is one."""
        self.assertEqual(SITE.verdict(b"http://evil.example", b"good.example", has_cookie=False), NOT_ALLOWED)

    def test_several_headers_are_none(self) -> None:
        """Two Origin headers are refused, even if both are good, and two Hosts have no own origin."""
        good = b"http://good.example"
        self.assertEqual(only_value([good]), good)
        self.assertIsNone(only_value(None))
        self.assertIsNone(only_value([]))
        self.assertEqual(SITE.verdict(only_value([good, good]), b"good.example", True), NOT_AN_ORIGIN)
        self.assertEqual(SITE.verdict(good, only_value([b"good.example", b"good.example"]), True), NOT_ALLOWED)


class OwnOriginTests(SynchronousTestCase):
    """Without settings of its own the site trusts itself."""

    def test_the_site_itself(self) -> None:
        """A page of the very host and port that the daemon was asked at may connect."""
        self.assertTrue(allows(SITE, "http://good.example"))
        self.assertTrue(allows(SITE, "http://good.example:8989", "good.example:8989"))
        self.assertTrue(allows(SITE, "http://127.0.0.1:8000", "127.0.0.1:8000"))
        self.assertTrue(allows(SITE, "http://[::1]:8000", "[::1]:8000"))
        self.assertTrue(allows(SITE, "http://good.example", "GOOD.example"))

    def test_both_schemes_while_a_proxy_may_hold_the_tls(self) -> None:
        """On a plain connection http and https are both the own origin; on a TLS one, or where told so, only https."""
        self.assertTrue(allows(SITE, "https://good.example"))
        self.assertTrue(allows(SITE, "https://good.example", secure=True))
        self.assertFalse(allows(SITE, "http://good.example", secure=True))
        strict = OriginSettings(hosts=("good.example",), https_only=True)
        self.assertTrue(allows(strict, "https://good.example"))
        self.assertFalse(allows(strict, "http://good.example"))

    def test_the_default_port_written_or_not(self) -> None:
        """`:80` and `:443` mean what leaving them out means, in the Origin and in the Host."""
        self.assertTrue(allows(SITE, "http://good.example:80"))
        self.assertTrue(allows(SITE, "https://good.example:443"))
        self.assertTrue(allows(SITE, "https://good.example", "good.example:443"))
        self.assertFalse(allows(SITE, "https://good.example:80"))

    def test_another_port_is_another_site(self) -> None:
        """A page on another port of the same host is foreign until it is named."""
        self.assertFalse(allows(SITE, "http://good.example:8000", "good.example:8989"))
        named = OriginSettings(trusted=("http://good.example:8000",), hosts=("good.example",))
        self.assertTrue(allows(named, "http://good.example:8000", "good.example:8989"))

    def test_only_hosts_that_django_allows(self) -> None:
        """A Host that `ALLOWED_HOSTS` does not name widens nothing: the name may resolve here by an attacker's DNS."""
        self.assertFalse(allows(SITE, "http://evil.example", "evil.example"))
        self.assertFalse(allows(SITE, "http://sub.good.example", "sub.good.example"))
        self.assertFalse(allows(SITE, "http://good.example", None))

    def test_a_star_adds_nothing(self) -> None:
        """`ALLOWED_HOSTS = ["*"]` is no list of trusted sites."""
        self.assertFalse(allows(OriginSettings(hosts=("*",)), "http://good.example"))

    def test_a_domain_with_its_subdomains(self) -> None:
        """`.example.com` in `ALLOWED_HOSTS` is the domain and all below it, and no name that only ends alike."""
        trust = OriginSettings(hosts=(".Good.example",))
        for host in ("good.example", "a.good.example", "a.b.good.example"):
            self.assertTrue(allows(trust, f"http://{host}", host), host)
            self.assertTrue(allows(trust, f"http://{host}:8989", f"{host}:8989"), host)
        self.assertFalse(allows(trust, "http://evilgood.example", "evilgood.example"))
        self.assertFalse(allows(trust, "http://a.good.example", "b.good.example"))

    def test_hosts_that_are_none(self) -> None:
        """A Host header that is no host has no own origin, and harms nobody."""
        for host in ("", "good.example:", "good.example:0", "good.example:99999", "good.example/x", "u@good.example"):
            self.assertFalse(allows(SITE, "http://good.example", host), host)
        for raw in (b"\xff\xfe", b"good.example\r\nx: y", b"good.example\x00", b"[::1", b"[1:2]", b"a" * 100_000):
            self.assertEqual(SITE.verdict(b"http://good.example", raw, True), NOT_ALLOWED)


class TrickTests(SynchronousTestCase):
    """What an attacker's page, or a program, might send."""

    def test_look_alikes(self) -> None:
        """Names that begin, end or look like the good one are refused."""
        for origin in (
            "http://good.example.evil.com",
            "http://evilgood.example",
            "http://evil-good.example",
            "http://good.example.",
            "http://GOOD.example",
            "HTTP://good.example",
            "http://user@good.example",
            "http://good.example@evil.com",
            "http://user:pw@good.example",
            "http://good.example/",
            "http://good.example/path",
            "http://good.example?x",
            "http://good.example#x",
            "http://good.example:080",
            "http://good.example:",
            "http://good.example:65616",
            "http:good.example",
            "//good.example",
            "good.example",
            "ftp://good.example",
            "http://.good.example",
            "http://good..example",
            "http://göod.example",
            "http://xn--god-sna.example",
            "http://good.example, http://good.example",
            "http://good.example http://evil.com",
            " http://good.example",
            "http://good.example\n",
            "http://good.example\x00",
            "null",
            "",
            "*",
            "http://*",
            "http://*.example",
            "file://",
        ):
            self.assertFalse(allows(SITE, origin), origin)

    def test_an_endless_origin(self) -> None:
        """A long Origin costs nothing and is refused."""
        self.assertEqual(SITE.verdict(b"http://" + b"a." * 100_000 + b"b", b"good.example", True), NOT_AN_ORIGIN)

    def test_the_reason_repeats_nothing(self) -> None:
        """What a client sent never stands in the answer."""
        for origin in (b"http://<script>", b"http://canary.example", b"canary"):
            reason = SITE.verdict(origin, b"canary.example", True)
            assert reason is not None
            self.assertNotIn("canary", reason)
            self.assertNotIn("script", reason)


class NamedOriginTests(SynchronousTestCase):
    """`LIVEPUSH_ALLOWED_ORIGINS` and `CSRF_TRUSTED_ORIGINS`."""

    def test_a_list_of_ones_own_is_the_whole_list(self) -> None:
        """Where `LIVEPUSH_ALLOWED_ORIGINS` is set, neither Django's lists nor the own origin count."""
        trust = OriginSettings(("https://a.example",), trusted=("https://b.example",), hosts=("good.example",))
        self.assertTrue(allows(trust, "https://a.example"))
        self.assertFalse(allows(trust, "https://b.example"))
        self.assertFalse(allows(trust, "http://good.example"))
        self.assertFalse(allows(OriginSettings((), hosts=("good.example",)), "http://good.example"))

    def test_a_pattern_is_the_subdomains_only(self) -> None:
        """`https://*.example.com` is any depth below the domain, with that scheme and port."""
        trust = OriginSettings(trusted=("https://*.good.example", "http://*.dev.example:8000"))
        self.assertTrue(allows(trust, "https://a.good.example"))
        self.assertTrue(allows(trust, "https://a.b.good.example:443"))
        self.assertTrue(allows(trust, "http://x.dev.example:8000"))
        for origin in (
            "https://good.example",
            "http://a.good.example",
            "https://a.good.example:8443",
            "https://evilgood.example",
            "https://a.good.example.evil.com",
            "http://x.dev.example",
        ):
            self.assertFalse(allows(trust, origin), origin)

    def test_entries_may_be_written_in_any_case(self) -> None:
        """Who writes `https://Shop.Example` means the site that browsers write in lower case."""
        self.assertTrue(allows(OriginSettings(("https://Shop.Example:443",)), "https://shop.example"))
        self.assertTrue(allows(OriginSettings(("http://[0:0:0:0:0:0:0:1]:8000",)), "http://[::1]:8000"))

    def test_the_origin_of_an_app(self) -> None:
        """Schemes of apps and extensions can be named."""
        self.assertTrue(allows(OriginSettings(trusted=("capacitor://localhost",)), "capacitor://localhost"))

    def test_a_wrong_entry_is_told(self) -> None:
        """An entry of `LIVEPUSH_ALLOWED_ORIGINS` that could never match is an error that says what is right."""
        for entry in (
            "shop.example",
            "https://",
            "*",
            "https://*",
            "https://*shop.example",
            "https://shop.example/",
            "https://a.*.example",
            "https://bücher.example",
            "https://u@shop.example",
            "https://shop.example:0",
            "https://shop.example:70000",
            "null",
            "",
            7,
        ):
            error = self.assertRaises(ValueError, OriginSettings, (entry,))
            self.assertIn(repr(entry), str(error))
            self.assertIn("https://www.example.com", str(error))

    def test_a_wrong_entry_of_djangos_adds_nothing(self) -> None:
        """Django lives with such entries, so the daemon does; they open no door."""
        trust = OriginSettings(trusted=("https://*", "*", "https://shop.example/", ""), hosts=("", "."))
        self.assertFalse(allows(trust, "https://shop.example", "shop.example"))


class PropertyTests(SynchronousTestCase):
    """What holds for all names."""

    @patient
    @given(domain, domain, port)
    def test_only_the_named_host(self, named: str, other: str, number: int) -> None:
        """A named origin lets itself in, and of all others none."""
        trust = OriginSettings((f"https://{named}:{number}",))
        self.assertTrue(allows(trust, f"https://{named}:{number}"))
        self.assertEqual(allows(trust, f"https://{other}:{number}"), other == named)

    @patient
    @given(domain, domain)
    def test_a_pattern_needs_a_dot(self, suffix: str, prefix: str) -> None:
        """A pattern covers exactly the names that end with a dot and its domain."""
        trust = OriginSettings((f"https://*.{suffix}",))
        self.assertTrue(allows(trust, f"https://{prefix}.{suffix}"))
        joined = f"{prefix}{suffix}"
        self.assertEqual(allows(trust, f"https://{joined}"), joined.endswith(f".{suffix}"))

    @patient
    @given(domain, port, st.sampled_from(("http", "https")))
    def test_without_settings_a_star_opens_nothing(self, host: str, number: int, scheme: str) -> None:
        """With `ALLOWED_HOSTS = ["*"]` no Host and Origin that agree are enough."""
        trust = OriginSettings(hosts=("*",))
        self.assertFalse(allows(trust, f"{scheme}://{host}:{number}", f"{host}:{number}"))

    @patient
    @given(st.binary(max_size=200), st.one_of(st.none(), st.binary(max_size=100)), st.booleans())
    def test_any_bytes(self, origin: bytes, host: bytes | None, has_cookie: bool) -> None:
        """Whatever bytes come, there is a verdict, and it is no."""
        self.assertIsNotNone(SITE.verdict(origin, host, has_cookie))

    @patient
    @given(st.text(alphabet="good.example:/@#?*[]80 \t\r\nGOD-_", max_size=40))
    def test_near_misses(self, text: str) -> None:
        """Of all texts made of the letters of the good origin, only its own forms pass."""
        forms = {"http://good.example", "http://good.example:80", "https://good.example", "https://good.example:443"}
        self.assertEqual(allows(SITE, f"http://{text}"), f"http://{text}" in forms)


class DevelopmentTests(SynchronousTestCase):
    """`runserver` and the daemon, side by side."""

    def test_another_port_of_this_machine(self) -> None:
        """With DEBUG a page of the same loopback host is trusted whatever its port; nothing else is."""
        hosts = ("localhost", "127.0.0.1", "[::1]", "good.example")
        trust = OriginSettings(hosts=hosts, development=True)
        for host in hosts[:3]:
            self.assertTrue(allows(trust, f"http://{host}:8000", f"{host}:8989"))
            self.assertFalse(allows(OriginSettings(hosts=hosts), f"http://{host}:8000", f"{host}:8989"))
        for origin, host in (
            ("http://localhost:8000", "127.0.0.1:8989"),
            ("http://evil.example:8000", "localhost:8989"),
            ("http://localhost.evil.example:8000", "localhost:8989"),
            ("http://good.example:8000", "good.example:8989"),
            ("ws://localhost:8000", "localhost:8989"),
        ):
            self.assertFalse(allows(trust, origin, host), origin)
        self.assertFalse(allows(OriginSettings(hosts=("*",), development=True), "http://localhost:1", "localhost:2"))
        explicit = OriginSettings(("http://localhost:1",), hosts=hosts, development=True)
        self.assertFalse(allows(explicit, "http://localhost:8000", "localhost:8989"))

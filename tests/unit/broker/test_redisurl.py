from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.errors import BadURL
from livepush.broker.redisurl import RedisURL

SECRET = "s3cretpart"


class ParseTests(SynchronousTestCase):
    def test_all_parts(self) -> None:
        """Percent-encoding is undone in user and password."""
        url = RedisURL.parse("redis://dj%40ngo:p%2Fss%3A%23@redis.example:5000/7")
        found = (url.host, url.port, url.user, url.password, url.database, url.tls)
        self.assertEqual(found, ("redis.example", 5000, "dj@ngo", "p/ss:#", 7, False))

    def test_what_may_be_left_out(self) -> None:
        """Port, account and database have Redis's defaults."""
        for text in ("redis://redis", "redis://redis/", "redis://redis:6379/0", " redis://redis ", "REDIS://redis"):
            url = RedisURL.parse(text)
            found = (url.host, url.port, url.user, url.password, url.database)
            self.assertEqual(found, ("redis", 6379, None, None, 0), text)
        url = RedisURL.parse("redis://:word@redis")
        self.assertEqual((url.user, url.password), (None, "word"))

    def test_addresses(self) -> None:
        """IPv6 stands in brackets."""
        url = RedisURL.parse("redis://:p@[::1]:5000/3")
        self.assertEqual((url.host, url.port, url.safe), ("::1", 5000, "redis://[::1]:5000/3"))

    def test_tls(self) -> None:
        """The files for TLS are options of rediss."""
        url = RedisURL.parse("rediss://redis/0?cacertfile=/ca.pem&certfile=%2Fmine.pem")
        self.assertEqual((url.tls, url.cacertfile, url.certfile, url.keyfile), (True, "/ca.pem", "/mine.pem", None))
        error = self.assertRaises(BadURL, RedisURL.parse("rediss://r?cacertfile=/nowhere.pem").ssl_context)
        self.assertIn("/nowhere.pem", str(error))

    def test_what_is_refused(self) -> None:
        """Each with a right example, and never with a part that may be a password."""
        for text in (
            None,
            6379,
            b"redis://h",
            "",
            SECRET,
            f"{SECRET}@h",
            f"amqp://u:{SECRET}@h",
            f"redis:u:{SECRET}@h",
            "redis://",
            f"redis://u:{SECRET}@",
            f"redis://u:{SECRET}@h:0",
            f"redis://u:{SECRET}@h:65536",
            f"redis://u:{SECRET}@h:x",
            f"redis://u:{SECRET}/x@h",
            f"redis://u:{SECRET}#x@h",
            f"redis://u:a@{SECRET}?@h",
            f"redis://u:%ff{SECRET}@h",
            f"redis://u:{SECRET}\udcff@h",
            f"redis://u:{SECRET}@h/x",
            f"redis://u:{SECRET}@h/-1",
            f"redis://u:{SECRET}@h?cacertfile=/ca.pem",
            f"rediss://u:{SECRET}@h?db=5",
            f"rediss://u:{SECRET}@h?cacertfile=",
            f"redis://u:{SECRET}@h h",
            f"redis://u:{SECRET}@[::1",
        ):
            error = self.assertRaises(BadURL, RedisURL.parse, text)
            self.assertIn("redis://:password@127.0.0.1:6379/0", str(error))
            self.assertNotIn(SECRET, str(error))

    def test_no_text_shows_the_password(self) -> None:
        """repr, str and the safe form have none."""
        url = RedisURL.parse(f"redis://user:{SECRET}@h/1")
        for text in (repr(url), str(url), url.safe):
            self.assertNotIn(SECRET, text)

    @given(st.text(max_size=40))
    def test_anything(self, text: str) -> None:
        """Whatever stands there is an address or a `BadURL`."""
        for address in (text, f"redis://{text}", f"rediss://u:{text}@h/0"):
            try:
                RedisURL.parse(address)
            except BadURL:
                continue

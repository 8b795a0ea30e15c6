from __future__ import annotations

import copy
import pickle
import ssl

import pika
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.errors import BadURL
from livepush.broker.url import BrokerURL

SECRET = "s3cretpart"


class ParseTests(SynchronousTestCase):
    def test_all_parts(self) -> None:
        """Percent-encoding is undone in user, password and vhost."""
        url = BrokerURL.parse("amqp://dj%40ngo:p%2Fss%3A%23@rabbit.example:5000/my%2Fhost")
        self.assertEqual((url.host, url.port, url.user, url.password), ("rabbit.example", 5000, "dj@ngo", "p/ss:#"))
        self.assertEqual((url.vhost, url.tls, url.embedded), ("my/host", False, False))

    def test_what_may_be_left_out(self) -> None:
        """Port, account and vhost have RabbitMQ's defaults."""
        for text in ("amqp://rabbit", "amqp://rabbit/", "amqp://rabbit/%2F", "AMQP://rabbit", " amqp://rabbit "):
            url = BrokerURL.parse(text)
            found = (url.host, url.port, url.user, url.password, url.vhost)
            self.assertEqual(found, ("rabbit", 5672, "guest", "guest", "/"), text)
        self.assertEqual(BrokerURL.parse("amqps://rabbit").port, 5671)
        self.assertEqual(BrokerURL.parse("amqp://user@rabbit").password, "")

    def test_addresses(self) -> None:
        """IPv6 stands in brackets."""
        url = BrokerURL.parse("amqp://u:p@[::1]:5000/")
        self.assertEqual((url.host, url.port, url.safe), ("::1", 5000, "amqp://[::1]:5000/%2F"))
        self.assertEqual(BrokerURL.parse("amqp://[fe80::1]").port, 5672)

    def test_embedded(self) -> None:
        """Loopback, port 5673, the password from the caller."""
        url = BrokerURL.parse("embedded:", SECRET)
        found = (url.embedded, url.host, url.port, url.user, url.password, url.vhost)
        self.assertEqual(found, (True, "127.0.0.1", 5673, "livepush", SECRET, "/"))
        self.assertEqual(BrokerURL.parse("embedded:6000", SECRET).port, 6000)
        self.assertEqual(url.safe, "embedded:5673")

    def test_tls_options(self) -> None:
        """The files for TLS are options of amqps."""
        url = BrokerURL.parse("amqps://rabbit/?cacertfile=/ca.pem&certfile=%2Fmine.pem")
        self.assertEqual((url.cacertfile, url.certfile, url.keyfile), ("/ca.pem", "/mine.pem", None))

    def test_what_is_refused(self) -> None:
        """Each with a right example, and never with a part that may be a password."""
        for text in (
            None,
            5672,
            b"amqp://h",
            "",
            SECRET,
            f"http://u:{SECRET}@h",
            f"redis:{SECRET}",
            "amqp:",
            "amqp:/h",
            "amqp:h:5672",
            "amqp://",
            "amqp:///vhost",
            f"amqp://u:{SECRET}@",
            f"amqp://u:{SECRET}@:5672/",
            f"amqp://u:{SECRET}@h:port/",
            f"amqp://u:{SECRET}@h:0/",
            f"amqp://u:{SECRET}@h:65536/",
            f"amqp://u:{SECRET}@h:-1/",
            f"amqp://u:{SECRET}/x@h:5672/",
            f"amqp://u:12/{SECRET}@h:5672/",
            f"amqp://u:{SECRET}#x@h/",
            f"amqp://u:12?{SECRET}@h/",
            f"amqp://u:12#{SECRET}@h/",
            f"amqp://u:{SECRET}@h/a/b",
            f"amqp://u:{SECRET}@h/%ff",
            f"amqp://u:{SECRET}%ff@h/",
            f"amqp://u:{SECRET}%00@h/",
            f"amqp://u:{SECRET * 30}@h/",
            f"amqp://u:{SECRET}@h/?heartbeat=5",
            f"amqp://u:{SECRET}@h/?{SECRET}",
            f"amqp://u:{SECRET}@h/?cacertfile=/ca.pem",
            f"amqps://u:{SECRET}@h/?cacertfile=",
            f"amqp://u:{SECRET}@[::1/",
            f"amqp://u:{SECRET}@h h/",
            f"amqp://u:{SECRET}@hö/",
            "embedded:x",
            "embedded:0",
            f"embedded://{SECRET}",
        ):
            with self.assertRaises(BadURL) as caught:
                BrokerURL.parse(text, SECRET)
            self.assertIn("amqp://user:password@127.0.0.1:5672/%2F", str(caught.exception), text)
            self.assertNotIn(SECRET, repr(caught.exception))
            self.assertIsNone(caught.exception.__cause__)

    @given(st.text(max_size=60))
    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    def test_any_text(self, text: str) -> None:
        """It is an address or BadURL, nothing else."""
        for candidate in (text, f"amqp://{text}", f"amqp://u:p@h{text}", f"amqps://u:{text}@h/?{text}"):
            try:
                url = BrokerURL.parse(candidate)
            except BadURL:
                continue
            self.assertTrue(1 <= url.port <= 65535)
            self.assertTrue(url.host)


class SecrecyTests(SynchronousTestCase):
    def test_no_text_shows_the_password(self) -> None:
        """Neither repr nor str nor format."""
        url = BrokerURL.parse(f"amqp://u:{SECRET}@h/")
        for text in (repr(url), str(url), f"{url}", url.safe, repr(url.parameters())):
            self.assertNotIn(SECRET, text)

    def test_it_is_a_value(self) -> None:
        """It can be compared, copied and pickled."""
        url = BrokerURL.parse(f"amqp://u:{SECRET}@h/")
        for other in (copy.copy(url), pickle.loads(pickle.dumps(url)), BrokerURL.parse(f"amqp://u:{SECRET}@h")):
            self.assertEqual(other, url)
        self.assertNotEqual(BrokerURL.parse("amqp://u:other@h"), url)


class ParametersTests(SynchronousTestCase):
    def test_what_is_no_text(self) -> None:
        """Bytes of the environment that are no UTF-8 are refused: nothing could show such an address."""
        for text in ("amqp://h/v\udcff", "amqp://u\udcff:p@h/", f"amqp://u:{SECRET}\udcff@h/"):
            error = self.assertRaises(BadURL, BrokerURL.parse, text)
            self.assertIn("UTF-8", str(error))
            self.assertNotIn(SECRET, str(error))

    def test_for_pika(self) -> None:
        """One attempt each, with deadlines; the loop around it decides when to try again."""
        parameters = BrokerURL.parse("amqp://u:p@h:1234/v").parameters(heartbeat=7, name="me")
        self.assertEqual((parameters.host, parameters.port, parameters.virtual_host), ("h", 1234, "v"))
        self.assertEqual((parameters.heartbeat, parameters.connection_attempts), (7, 1))
        self.assertEqual(parameters.credentials, pika.PlainCredentials("u", "p"))
        self.assertIsNone(parameters.ssl_options)
        self.assertEqual(parameters.client_properties, {"connection_name": "me"})

    def test_tls_verifies(self) -> None:
        """Certificate and host name."""
        context = BrokerURL.parse("amqps://rabbit").ssl_context()
        assert context is not None
        self.assertEqual((context.verify_mode, context.check_hostname), (ssl.CERT_REQUIRED, True))
        options = BrokerURL.parse("amqps://rabbit").parameters().ssl_options
        assert options is not None
        self.assertEqual(options.server_hostname, "rabbit")

    def test_a_missing_certificate_file(self) -> None:
        """It is named."""
        with self.assertRaises(BadURL) as caught:
            BrokerURL.parse(f"amqps://u:{SECRET}@h/?cacertfile=/no/ca.pem").parameters()
        self.assertIn("/no/ca.pem", str(caught.exception))
        self.assertNotIn(SECRET, str(caught.exception))

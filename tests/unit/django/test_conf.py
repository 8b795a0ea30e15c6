"""The settings: what they take, and where they come from."""

from __future__ import annotations

from typing import Any

from django.test import override_settings
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.errors import BadURL
from livepush.django.conf import BadSetting, Conf, conf, faults, name_of, names, unknown

WRONG: dict[str, list[Any]] = {
    "broker_url": ["", None, 5, "http://x", "amqp://host:99999", "amqp://"],
    "allowed_origins": ["https://a.b", ["a.b"], [5], 5, ["https://a.b/path"]],
    "signals": ["logout", "everything"],
    "unrelated_user_fields": ["last_login"],
    "anonymous": [None, 1, "yes"],
    "auth_database": ["", None, 5],
    "auth_threads": [0, -1, 65, "4", 1.5, True],
    "auth_queue": [0, None],
    "sweep_seconds": [0, "60", True, 3601],
    "publish_url": ["", 5, "http://x", "amqp://host:99999"],
    "call_threads": [0, 65, "4", True],
    "call_queue": [0, None],
    "call_timeout": [0, "10", True, float("nan")],
    "calls": [0, 1001, None],
    "port": [0, 65536, "8989", None],
    "url": ["", 5, "push.example.com", "ftp://x/", "wss://", "wss://u:p@x/", "wss://x/#a", "wss://x y/", "wss://[x/"],
    "heartbeat": [0, -1, 3601, "25", True, None, float("nan")],
    "retry": [5, (1,), (1, 2, 3), (0, 5), (5, 4), ("1", "2"), (1.5, 2)],
    "hello_timeout": [0, None],
    "max_connections": [0, 2_000_000],
    "message_bytes": [10],
    "message_depth": [1, 300],
    "outbound_bytes": [100],
    "subscriptions": [0],
    "ring_seconds": [0],
    "ring_events": [0],
    "ring_bytes": [5],
    "queue_length": [5],
    "backlog_messages": [0],
    "message_rate": [0, 2.5, "20"],
    "message_burst": [0, None],
    "user_connections": [0, "50"],
    "address_connections": [0, None],
    "trusted_proxies": [None, "127.0.0.1", [5], ["10.0.0.1/8"], ["localhost"], ["unix", ""], [True]],
    "header_bytes": [1023, 2**21],
    "request_timeout": [0, "10"],
    "backlog_bytes": [5],
    "log_seconds": [59],
    "log_segment_bytes": [5],
    "flush_seconds": [-1, "5", True],
    "drain_seconds": [-1, 601, "5", True],
    "redis_url": ["", 5, "127.0.0.1:6379", "http://h", "redis://", "redis://h/x", "redis://h?db=5", "redis://:a/b@h/0"],
    "redis_prefix": ["", None, "a b", "{x}", "x" * 41],
    "redis_timeout": [0, 5, "1", None],
    "presence_grace": [-1, "5", True],
    "presence_ttl": [4, 3601],
    "presence_users": [0, None],
    "status_token": ["", "short", "with a space in it, long", "é" * 20, 5],
    "sockjs_prefixes": [
        "/orders",
        None,
        5,
        [5],
        [""],
        ["/"],
        ["orders"],
        ["/orders/"],
        ["/a//b"],
        ["/a/../b"],
        ["/ä"],
        ["/livepush/x"],
        ["/socket.io"],
        ["/healthz"],
        ["/orders", "/orders/5"],
        ["/a/b/c", "/x", "/a"],
        ["/a", "/a-b", "/a/b"],
        ["/a", "/a"],
    ],
    "sockjs_legacy": [None, 1, "yes"],
    "sockjs_client": [
        "",
        5,
        "sockjs.js",
        "javascript:alert(1)",
        '/a"b',
        "/a<b",
        "/a b",
        "/a'b",
        "https://x",
        "/",
        "//x\n",
    ],
}


class ConfTests(SynchronousTestCase):
    def test_wrong_values(self) -> None:
        """Every setting refuses what it can't use, naming itself and what is right."""
        self.assertEqual({name_of(name) for name in WRONG}, set(names()))
        for name, values in WRONG.items():
            for value in values:
                error = self.assertRaises(BadSetting, Conf, **{name: value})
                self.assertTrue(str(error).startswith(name_of(name)), f"{name} {value!r}: {error}")
                self.assertEqual(error.setting, name_of(name))

    def test_one_form(self) -> None:
        """A value is brought into the one form that the rest works with."""
        self.assertEqual(Conf(retry=[1, 2]).retry, (1, 2))  # type: ignore[arg-type]
        self.assertEqual(Conf(sockjs_prefixes=["/orders", "/a/b"]).sockjs_prefixes, ("/a/b", "/orders"))  # type: ignore[arg-type]
        self.assertEqual(Conf(allowed_origins=["https://a.b"]).allowed_origins, ("https://a.b",))  # type: ignore[arg-type]
        for given, expected in (
            ("wss://push.a.b", "wss://push.a.b/livepush/ws"),
            ("https://push.a.b:8443/", "wss://push.a.b:8443/livepush/ws"),
            ("http://push.a.b/x/ws", "ws://push.a.b/x/ws"),
        ):
            self.assertEqual(Conf(url=given).url, expected)

    def test_from_settings(self) -> None:
        """Django's settings are read, and read anew when a test overrides them."""
        with override_settings(LIVEPUSH_PORT=1234):
            self.assertEqual(conf().port, 1234)
        self.assertEqual(conf().port, 8989)

    def test_faulty_settings(self) -> None:
        """A fault raises where the settings are used."""
        with override_settings(LIVEPUSH_PORT="x"):
            self.assertRaises(BadSetting, conf)

    def test_environment(self) -> None:
        """The environment's broker overrides the settings', and is checked like it; an empty one says nothing."""
        self.assertEqual(faults({"LIVEPUSH_BROKER_URL": "embedded:"}), [])
        self.assertEqual(faults({"LIVEPUSH_BROKER_URL": ""}), [])
        with override_settings(LIVEPUSH_BROKER_URL="embedded:"):
            self.assertEqual([each.setting for each in faults({"LIVEPUSH_BROKER_URL": "x"})], ["LIVEPUSH_BROKER_URL"])

    def test_who_publishes(self) -> None:
        """`publish` uses the broker that is named for it, else the one for all; the environment's counts."""
        self.assertEqual(Conf(broker_url="amqp://a@h/").publishing_broker().user, "a")
        self.assertEqual(Conf(broker_url="amqp://a@h/", publish_url="amqp://b@h/").publishing_broker().user, "b")
        with override_settings(LIVEPUSH_PUBLISH_URL="embedded:"):
            self.assertEqual([each.setting for each in faults({"LIVEPUSH_PUBLISH_URL": "x"})], ["LIVEPUSH_PUBLISH_URL"])

    def test_passwords(self) -> None:
        """No message about an address repeats its password."""
        for name in ("broker_url", "publish_url"):
            error = self.assertRaises(BadSetting, Conf, **{name: "http://u:s3cret@h"})
            self.assertNotIn("s3cret", str(error))
        self.assertNotIn("s3cret", repr(Conf(broker_url="amqp://u:s3cret@h/", publish_url="amqp://u:s3cret@h/")))

    def test_database_alias(self) -> None:
        """The database for look-ups must be one of the site's."""
        with override_settings(LIVEPUSH_AUTH_DATABASE="nope"):
            (fault,) = faults({})
        self.assertIn("default", str(fault))

    def test_unknown_names(self) -> None:
        """Only names that begin with ours are looked at."""
        with override_settings(LIVEPUSH_X=1, LIVEPUSHX=1):
            self.assertEqual(unknown(), ["LIVEPUSH_X"])

    def test_secrets(self) -> None:
        """Neither repr nor an error shows a password or a token."""
        known = Conf(broker_url="amqp://u:s3cret@h/", status_token="t0ken-t0ken-t0ken", embedded_password="pa55")
        self.assertNotIn("s3cret", repr(known))
        self.assertNotIn("t0ken", repr(known))
        self.assertNotIn("pa55", repr(known))
        self.assertNotIn("s3cret", str(self.assertRaises(BadSetting, Conf, broker_url="http://u:s3cret@h/")))

    def test_embedded_password(self) -> None:
        """Django and the daemon agree on it through SECRET_KEY; it is not the key."""
        with override_settings(LIVEPUSH_BROKER_URL="embedded:5699", SECRET_KEY="one"):
            first, again = conf().broker(), conf().broker("embedded:5699")
        with override_settings(LIVEPUSH_BROKER_URL="embedded:5699", SECRET_KEY="two"):
            second = conf().broker()
        self.assertEqual(first, again)
        self.assertNotEqual(first.password, second.password)
        self.assertEqual((first.embedded, first.port, len(first.password)), (True, 5699, 64))

    def test_other_broker(self) -> None:
        """An option's broker is read like the setting's."""
        self.assertEqual(conf().broker("amqp://h/v").vhost, "v")
        self.assertRaises(BadURL, conf().broker, "nope")

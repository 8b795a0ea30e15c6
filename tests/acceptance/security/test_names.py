"""Cases 26 and 27: names that mean more than they should, to a broker or to somebody else."""

from __future__ import annotations

import json

from tests.acceptance.security.case import STREAM, SecurityCase

NO_NAMES = (
    "",
    "*",
    "#",
    "a.*",
    "#.a",
    "orders.#",
    "..",
    "a..b",
    ".a",
    "a.",
    "a b",
    "a\u0000b",
    "a\r\nb",
    "öl",
    "\u043erders",
)
FOREIGN = (
    "user.1",
    "user.*",
    "user",
    "livepush",
    "livepush.void",
    "control.identity",
    "event.orders",
    "orders.sub",
    "Orders",
)


class ChannelTests(SecurityCase):
    """What a client asks to hear."""

    def test_26_names(self) -> None:
        """Attack: patterns of the broker, reserved, look-alike and too long names, somebody else's channel."""
        victim, thief = self.world.visitor(), self.world.visitor()
        bound = self.bindings()
        with self.page(thief) as client:
            wanted = (*NO_NAMES, "a" * 181, "é" * 128, *FOREIGN, f"user.{victim.user}", f"desks.{victim.name}")
            for number, name in enumerate(wanted, 1):
                client.send_json({"op": "subscribe", "n": number, "channel": name})
                answer = client.receive_json()
                self.assertEqual((answer["op"], answer["n"]), ("error", number), (name, answer))
                self.assertIn(answer["code"], ("bad_channel", "forbidden"), name)
            self.world.publish("secret", {"secret": 1}, f"user.{victim.user}")
            self.world.publish("secret", {"secret": 1}, f"desks.{victim.name}")
            self.world.publish("over", {})
            heard = self.heard_until(client, lambda message: message.get("type") == "over")
            self.assertNotIn("secret", json.dumps(heard))
        self.assertEqual(self.bindings(), bound, "a client's word has become a binding")

    def test_26_in_hello_and_in_an_address(self) -> None:
        """Attack: the same names in a hello, and in the address of a stream."""
        victim, thief = self.world.visitor(), self.world.visitor()
        with self.page(thief, hello=False) as client:
            client.send_json(
                {"op": "hello", "n": 0, "channels": dict.fromkeys(FOREIGN) | {f"user.{victim.user}": None}}
            )
            self.assertEqual(client.receive_json()["channels"], {})
        for name in ("%23", "*", "a..b", f"user.{victim.user}", "%00", "orders%0d%0aX-Evil:1"):
            with self.ask("GET", f"{STREAM}?channels={name}", thief.headers) as exchange:
                self.assertIn(exchange.status, (400, 403), name)
                self.assertIsNone(exchange.header("X-Evil"))

    def test_27_names_in_publish(self) -> None:
        """Attack: user data in a routing key; it is refused where it is written, before the transaction is over."""
        for channel, type_ in (
            ("orders.#", "lock"),
            ("orders.*", "lock"),
            ("a" * 181, "lock"),
            ("\u043e" * 128, "lock"),
            ("orders", "lock.#"),
            ("orders", "x" * 61),
            ("", "lock"),
            ("livepush.void", "a b"),
        ):
            told = self.world.site(
                "said = None\n"
                "with transaction.atomic():\n"
                "    before = User.objects.count()\n"
                "    try:\n"
                "        publish(channel, type_, {})\n"
                "    except ValueError as error:\n"
                "        said = str(error)\n"
                "[said, User.objects.count() == before]",
                channel=channel,
                type_=type_,
            )
            self.assertTrue(told[0], (channel, type_))
            self.assertTrue(told[1])

    def bindings(self) -> list[str]:
        """All of the virtual host, but for those that other processes of the daemon come and go with."""
        listed = self.world.vhost.node.ctl("list_bindings", "-p", self.world.vhost.name, "routing_key")
        return sorted(set(listed.split()))

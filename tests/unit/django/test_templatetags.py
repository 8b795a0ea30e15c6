"""What a page gets."""

from __future__ import annotations

import json
import re

from django.template import Context, Template
from django.test import override_settings
from twisted.trial.unittest import SynchronousTestCase


def render(text: str = "{% load livepush %}{% livepush %}") -> str:
    """The tag in a template without a request."""
    return Template(text).render(Context())


def config_of(page: str) -> dict[str, object]:
    found = re.search(r'<script id="livepush-config" type="application/json">(.*?)</script>', page)
    assert found is not None, page
    config: dict[str, object] = json.loads(found[1])
    return config


class TagTests(SynchronousTestCase):
    def test_configuration(self) -> None:
        """The script finds what the settings say; without an address, port and path to find the daemon by."""
        self.assertEqual(
            config_of(render()),
            {"url": None, "port": 8989, "path": "/livepush/ws", "retry": [500, 20000], "heartbeat": 25},
        )
        with override_settings(LIVEPUSH_URL="https://push.a.b", LIVEPUSH_PORT=1, LIVEPUSH_RETRY=(1, 2)):
            config = config_of(render())
        self.assertEqual((config["url"], config["port"], config["retry"]), ("wss://push.a.b/livepush/ws", 1, [1, 2]))

    def test_no_inline_script(self) -> None:
        """Everything that runs comes from a file, so that a strict Content-Security-Policy may stay."""
        scripts = re.findall(r"<script([^>]*)>(.*?)</script>", render(), re.DOTALL)
        self.assertEqual(len(scripts), 2)
        for attributes, body in scripts:
            self.assertTrue("application/json" in attributes or ("defer" in attributes and not body.strip()))
        self.assertIn('src="/static/livepush/livepush.js"', scripts[1][0])

    def test_nothing_secret(self) -> None:
        """The page learns neither the broker's address nor the token."""
        with override_settings(
            LIVEPUSH_BROKER_URL="amqp://u:s3cret@broker/", LIVEPUSH_STATUS_TOKEN="t0ken-t0ken-t0ken-t0ken"
        ):
            page = render()
        self.assertNotIn("s3cret", page)
        self.assertNotIn("broker", page)
        self.assertNotIn("t0ken", page)

    def test_hostile_settings_are_escaped(self) -> None:
        """A value can't end the script element."""
        with override_settings(LIVEPUSH_URL="wss://a.b/</script><b>"):
            page = render()
        self.assertNotIn("</script><b>", page)

"""Tests of `exchange.policy`."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from twisted.trial.unittest import SynchronousTestCase

from exchange.policy import ContentSecurityPolicy

POLICY = {"default-src": ["'self'"], "connect-src": ["'self'", "ws://127.0.0.1:8989"]}
HEADER = "Content-Security-Policy"


class PolicyTests(SynchronousTestCase):
    """The header that says what a page may load."""

    def answer(self, headers: dict[str, str]) -> HttpResponse:
        """What the browser gets when the site answers with these headers."""
        with override_settings(CONTENT_SECURITY_POLICY=POLICY):
            middleware = ContentSecurityPolicy(lambda request: HttpResponse(headers=headers))
        return middleware(HttpRequest())

    def test_added(self) -> None:
        """Every page gets the site's policy."""
        self.assertEqual(self.answer({})[HEADER], "default-src 'self'; connect-src 'self' ws://127.0.0.1:8989")

    def test_own_policy(self) -> None:
        """A page with a policy of its own keeps it."""
        self.assertEqual(self.answer({HEADER: "default-src 'none'"})[HEADER], "default-src 'none'")

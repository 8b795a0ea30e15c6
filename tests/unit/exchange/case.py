"""What the example site's tests share: the demo's users and orders, and a broker that only remembers."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from exchange.orders.management.commands.demo_data import fill
from livepush.django.outlet import outlet
from tests import recorder
from tests.cases import DjangoCase


class Recorder(recorder.Recorder):
    """In the place of the publisher: keeps what was handed over, and shows it as an audience sees it."""

    def seen(self, audience: str) -> list[tuple[str, dict[str, Any]]]:
        """Type and data of each event as this audience is shown it."""
        return [(body["type"], {**body["data"], **body.get("views", {}).get(audience, {})}) for body in self.bodies]


class ExchangeCase(DjangoCase):
    """The demo's users and orders in the database, and every publication recorded."""

    def setUp(self) -> None:
        super().setUp()
        fill()
        self.published = Recorder()
        replaced = outlet.replaced(self.published)
        replaced.__enter__()
        self.addCleanup(replaced.__exit__, None, None, None)

    def user(self, name: str) -> User:
        """One of the demo's users."""
        return User.objects.get(username=name)

    def browser(self, name: str | None = None) -> Client:
        """A browser in which this user has logged in; nobody without a name."""
        client = Client()
        if name is not None:
            client.force_login(self.user(name))
        return client

    def post(self, client: Client, path: str, **fields: str) -> Any:
        """A form post, and the commit of what it did."""
        with self.committing():
            return client.post(path, fields)

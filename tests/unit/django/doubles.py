"""A small site's way to publish."""

from __future__ import annotations

from livepush.django.channels import Audience, Channel, Registry
from livepush.django.outlet import Outlet
from livepush.django.publication import Publishing
from tests.recorder import Recorder


def make_publishing() -> tuple[Publishing, Recorder]:
    """A site with the channels orders and rooms.{room}, and a recorder for its publisher."""
    registry = Registry()

    class Orders(Channel, registry=registry):
        name = "orders"
        audiences = [Audience("moderator", perm="auth.delete_group"), Audience("client", perm="auth.add_group")]

    class Rooms(Channel, registry=registry):
        name = "rooms.{room}"
        audiences = [Audience("member")]

    recorder = Recorder()
    return Publishing(registry, Outlet(lambda: recorder)), recorder

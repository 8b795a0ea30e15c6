"""The channels of the soak."""

from __future__ import annotations

from livepush.django import Audience, Channel


class Orders(Channel):
    """Two audiences that see different things; who has neither permission hears nothing."""

    name = "orders"
    auto = True
    audiences = [Audience("moderator", perm="auth.delete_group"), Audience("client", perm="auth.view_group")]


class News(Channel):
    """For everybody who is logged in, and everybody may know who else is."""

    name = "news"
    auto = True
    presence = True
    audiences = [Audience("reader")]


class Rooms(Channel):
    """Asked for by code, one of several."""

    name = "rooms.{room}"
    audiences = [Audience("client", perm="auth.view_group")]

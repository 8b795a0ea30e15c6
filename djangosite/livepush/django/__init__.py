"""The Django side of livepush: declare channels, publish what happened.

    from livepush.django import Audience, CallRefused, Channel, flush, publish, user_channel
    from livepush.django import PresenceUnavailable, online, presence, stats
    from livepush.django import disconnect, identity_changed, revoke, ticket

Importing it imports neither Twisted nor pika; the connection to the broker is made when something is published.
"""

from __future__ import annotations

from livepush.django.channels import Audience, Channel, user_channel
from livepush.django.control import disconnect, identity_changed, revoke
from livepush.django.errors import CallRefused, PresenceUnavailable
from livepush.django.outlet import flush
from livepush.django.publication import Publication, publish
from livepush.django.registry import online, presence, stats
from livepush.django.tickets import ticket

__all__ = [
    "Audience",
    "CallRefused",
    "Channel",
    "PresenceUnavailable",
    "Publication",
    "disconnect",
    "flush",
    "identity_changed",
    "online",
    "presence",
    "publish",
    "revoke",
    "stats",
    "ticket",
    "user_channel",
]

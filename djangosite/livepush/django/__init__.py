"""The Django side of livepush: declare channels, publish what happened.

    from livepush.django import Audience, CallRefused, Channel, flush, publish, user_channel

Importing it imports neither Twisted nor pika; the connection to the broker is made when something is published.
"""

from __future__ import annotations

from livepush.django.channels import Audience, Channel, user_channel
from livepush.django.errors import CallRefused
from livepush.django.outlet import flush
from livepush.django.publication import Publication, publish

__all__ = ["Audience", "CallRefused", "Channel", "Publication", "flush", "publish", "user_channel"]

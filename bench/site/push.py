"""The benchmark's one channel."""

from __future__ import annotations

from livepush.django import Audience, Channel


class Bench(Channel):
    """Everybody who is logged in listens from the start."""

    name = "bench"
    auto = True
    audiences = [Audience("everybody")]

"""The benchmarks' channels."""

from __future__ import annotations

from livepush.django import Audience, Channel


class Bench(Channel):
    """Everybody who is logged in listens from the start."""

    name = "bench"
    auto = True
    audiences = [Audience("everybody")]


class Guarded(Channel):
    """Who has a permission that Django has anyway may listen."""

    name = "guarded"
    audiences = [Audience("members", perm="auth.view_group")]

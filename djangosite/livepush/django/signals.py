"""Signals that livepush sends."""

from __future__ import annotations

from django.dispatch import Signal

publication_failed = Signal()
"""A publication will not reach anybody.

Sent with `sender=Publication`, `publication`, and `error` (a `livepush.broker.errors.PublishError`). Receivers run in
the publisher's background thread, or in the publishing one where the backlog is full: be quick, and hand work that
needs the database to a task queue. What a receiver raises is logged.
"""

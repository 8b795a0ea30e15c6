"""Signals that livepush sends."""

from __future__ import annotations

from django.dispatch import Signal

publication_failed = Signal()
"""A publication will not reach anybody, or a control message no daemon.

Sent with `sender=Publication`, `publication`, and `error` (a `livepush.broker.errors.PublishError`); of a control
message both are `livepush.broker.envelope.Control`: the class, and what it says. Receivers run in the publisher's
background thread, or in the publishing one where the backlog is full: be quick, and hand work that needs the database
to a task queue. What a receiver raises is logged.
"""

"""The outbox: what `publish(durable=True)` wrote in a transaction, until the broker has it.

    state of a row     number   failed     what the relay does with it
    ---------------    ------   -------    --------------------------------------------------------------------------
    waiting            null     ""         gives it the outbox's next number
    numbered           n        ""         sends it until the broker confirms, then deletes it
    to be voided       n        a reason   the broker refuses it for good: sends n as an empty void until confirmed
    failed             null     a reason   nothing: somebody looks at it in the admin, sends it again or deletes it

The tables are made by `manage.py migrate`, in every database that `durable=True` is used with.
"""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone


class OutboxMessage(models.Model):
    """One event that waits for the relay."""

    number: models.BigIntegerField[int | None, int | None] = models.BigIntegerField(null=True, unique=True)
    key: models.CharField[str, str] = models.CharField("routing key", max_length=255)
    channel: models.CharField[str, str] = models.CharField(max_length=180)
    body: models.BinaryField[bytes, bytes] = models.BinaryField()
    created: models.DateTimeField[datetime, datetime] = models.DateTimeField(default=timezone.now)
    failed: models.TextField[str, str] = models.TextField(default="", blank=True)

    class Meta:
        verbose_name = "outbox message"
        indexes = [models.Index(fields=["id"], condition=Q(number=None, failed=""), name="livepush_outbox_waiting")]

    def __str__(self) -> str:
        return f"{self.key} {'waiting' if self.number is None else self.number}"


class OutboxLease(models.Model):
    """The outbox's identity as a publisher, and which relay may give numbers. One row, `id` 1.

    See `livepush.broker.lease` for what the fields mean.
    """

    id: models.SmallIntegerField[int, int] = models.SmallIntegerField(primary_key=True, default=1)
    publisher: models.CharField[str, str] = models.CharField(max_length=64)
    database: models.CharField[str, str] = models.CharField(max_length=255)
    next: models.BigIntegerField[int, int] = models.BigIntegerField(default=1)
    generation: models.BigIntegerField[int, int] = models.BigIntegerField(default=0)
    beats: models.BigIntegerField[int, int] = models.BigIntegerField(default=0)
    holder: models.CharField[str, str] = models.CharField(max_length=255, default="", blank=True)

    class Meta:
        verbose_name = "outbox lease"

    def __str__(self) -> str:
        return self.publisher

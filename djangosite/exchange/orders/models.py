"""An order and its life: open, locked by somebody, done.

Every change is one conditional UPDATE that also raises `version`, and the event of it is published in the same
transaction. The database decides who comes first, so two lockers at once are one lock and one `Refused`, on SQLite and
on a database with row locks alike, without anybody's having read the row before.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models, transaction
from django.db.models import F, Q
from django.http import HttpRequest
from django.utils import timezone

from livepush.django import publish
from livepush.django.actor import Caller

HIDE = {"action": "hide"}
HIGHLIGHT = {"action": "highlight"}


class Refused(Exception):
    """The order's state does not allow this; the text tells a person why."""


class Order(models.Model):
    """Something for sale, or wanted."""

    class Status(models.TextChoices):
        """Where an order stands."""

        OPEN = "open", "Open"
        LOCKED = "locked", "Locked"
        DONE = "done", "Done"

    class Side(models.TextChoices):
        """Whether somebody offers or wants it."""

        SELL = "sell", "Sell"
        BUY = "buy", "Buy"

    locked_by_id: int | None

    side: models.CharField[str, str] = models.CharField(max_length=4, choices=Side)
    title: models.CharField[str, str] = models.CharField("what is traded", max_length=120)
    quantity: models.PositiveIntegerField[int, int] = models.PositiveIntegerField()
    unit: models.CharField[str, str] = models.CharField(max_length=12)
    price: models.DecimalField[Decimal, Decimal] = models.DecimalField(
        "price per unit", max_digits=10, decimal_places=2
    )
    status: models.CharField[str, str] = models.CharField(
        max_length=6, choices=Status, default=Status.OPEN, editable=False, db_index=True
    )
    locked_by: models.ForeignKey[Any, Any] = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    locked_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True, editable=False
    )
    version: models.PositiveIntegerField[Any, int] = models.PositiveIntegerField(
        default=1, editable=False, help_text="Grows with every change of the row."
    )

    class Meta:
        ordering = ["pk"]
        permissions = [("lock_order", "Can lock order")]

    def __str__(self) -> str:
        return f"Order {self.pk}: {self.side} {self.quantity} {self.unit} {self.title}"

    @property
    def key(self) -> str:
        """What versions of this row are compared under."""
        return f"order-{self.pk}"

    def lock(self, user: AbstractUser, request: HttpRequest | Caller | None = None) -> None:
        """Take an open order to work on it.

        Args:
            user: who takes it.
            request: its tab is not told; it gets the answer.

        Raises:
            Refused: the order is not open.
        """
        with transaction.atomic():
            values = {"status": self.Status.LOCKED, "locked_by": user, "locked_at": timezone.now()}
            if not self._change(Q(status=self.Status.OPEN), **values):
                raise Refused(self._why_not(user))
            self._publish("lock", {"order": self.pk, "user": user.pk}, skip=request)

    def done(self, user: AbstractUser, *, any_lock: bool, request: HttpRequest | None = None) -> None:
        """Finish an order: an open one, one that `user` has locked, or with `any_lock` (moderators) anybody's.

        Raises:
            Refused: it is done already, or somebody else has locked it.
        """
        allowed = Q(status=self.Status.OPEN) | Q(status=self.Status.LOCKED, locked_by=user)
        if any_lock:
            allowed = ~Q(status=self.Status.DONE)
        with transaction.atomic():
            if not self._change(allowed, status=self.Status.DONE, locked_by=None, locked_at=None):
                raise Refused(self._why_not(user))
            data = {"order": self.pk, "user": user.pk}
            self._publish("done", data, skip=request, views={"moderator": HIGHLIGHT, "client": HIDE})

    def free(self, locked_before: datetime | None = None) -> bool:
        """Open a locked order again, if it was locked at that moment or before. False if there was nothing to do."""
        allowed = Q(status=self.Status.LOCKED)
        if locked_before is not None:
            allowed &= Q(locked_at__lte=locked_before)
        with transaction.atomic():
            if not self._change(allowed, status=self.Status.OPEN, locked_by=None, locked_at=None):
                return False
            self._publish("free", {"order": self.pk})
        return True

    @classmethod
    def free_expired(cls, after: timedelta) -> int:
        """Free every lock that is older than `after`; how many there were."""
        limit = timezone.now() - after
        expired = list(cls.objects.filter(status=cls.Status.LOCKED, locked_at__lte=limit))
        return sum(order.free(limit) for order in expired)

    def _change(self, allowed: Q, **values: Any) -> bool:
        changed = Order.objects.filter(allowed, pk=self.pk).update(version=F("version") + 1, **values)
        if changed:
            self.refresh_from_db()
        return changed == 1

    def _why_not(self, user: AbstractUser) -> str:
        self.refresh_from_db()
        if self.status == self.Status.DONE:
            return f"Order {self.pk} is already done."
        if self.locked_by_id == user.pk:
            return f"You have already locked order {self.pk}."
        return f"Somebody else has locked order {self.pk}."

    def _publish(self, type: str, data: dict[str, Any], **options: Any) -> None:  # noqa: A002 - livepush's word
        # The version a second time, in what every page's handler is given: stock clients show it nothing else.
        data = {**data, "version": self.version}
        publish("orders", type, data, key=self.key, version=self.version, **options)

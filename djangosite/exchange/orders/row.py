"""An order as one user sees it: the classes of its element and the buttons in it.

`orders.js` draws the same from events. Keep the two in step: what a push makes of a row is what a reload shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import AbstractUser, AnonymousUser

from exchange.orders.models import Order
from exchange.orders.push import Orders

MODERATOR = "moderator"


def audience_of(user: AbstractUser | AnonymousUser) -> str | None:
    """As whom a user sees orders: the same rule, in the same order, as for the channel. None: not at all."""
    for audience in Orders.audiences:
        if audience.perm is None or user.has_perm(audience.perm):
            return audience.name
    return None


@dataclass(frozen=True, slots=True)
class Row:
    """One order, seen by one user."""

    order: Order
    audience: str
    user_pk: object
    may_lock: bool

    @property
    def mine(self) -> bool:
        """Whether this user has locked it."""
        return self.order.status == Order.Status.LOCKED and self.order.locked_by_id == self.user_pk

    @property
    def hidden(self) -> bool:
        """Whether the order has left this user's list."""
        return self.order.status == Order.Status.DONE and self.audience != MODERATOR

    @property
    def classes(self) -> str:
        """The classes by which page, tests and style sheet know the row."""
        classes = ["order-row", f"id_order_row__{self.order.pk}"]
        if self.order.status == Order.Status.LOCKED:
            classes.append("order-row_is_locked")
            if self.mine:
                classes.append("order-row_is_mine")
        if self.hidden:
            classes.append("hidden")
        elif self.order.status == Order.Status.DONE:
            classes.append("order-row_is_done")
        return " ".join(classes)

    @property
    def state(self) -> str:
        """The state in words."""
        if self.order.status == Order.Status.LOCKED:
            return "Locked by you" if self.mine else "Locked"
        return str(Order.Status(self.order.status).label)

    @property
    def can_lock(self) -> bool:
        """Whether the row has a button to lock it."""
        return self.may_lock and self.order.status == Order.Status.OPEN

    @property
    def can_finish(self) -> bool:
        """Whether the row has a button to finish it."""
        if self.audience == MODERATOR:
            return self.order.status != Order.Status.DONE
        return self.order.status == Order.Status.OPEN or self.mine


def rows_for(user: AbstractUser | AnonymousUser) -> list[Row]:
    """All orders as this user sees them; none for who has no part in the exchange."""
    audience = audience_of(user)
    if audience is None:
        return []
    may_lock = user.has_perm("orders.lock_order")
    return [Row(order, audience, user.pk, may_lock) for order in Order.objects.all()]

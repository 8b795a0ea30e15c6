"""Who may hear of orders, and what a page can do over its connection; livepush finds this module by itself."""

from __future__ import annotations

from typing import Any

from exchange.orders.models import Order, Refused
from livepush.django import Audience, CallRefused, Channel


class Orders(Channel):
    """All orders: a moderator sees what is done highlighted, a client sees it go."""

    name = "orders"
    auto = True
    presence = True  # whoever sees the list sees who else looks at it
    audiences = [Audience("moderator", perm="orders.delete_order"), Audience("client", perm="orders.lock_order")]

    def receive(self, user: Any, type: str, data: Any, **_: str) -> dict[str, Any]:  # noqa: A002 - livepush's word
        """`lock` with `{"order": pk}`: the same as the form's button, without a page load."""
        if type != "lock":
            raise CallRefused("There is no such request.", "unknown")
        if not user.has_perm("orders.lock_order"):
            raise CallRefused("You may not lock orders.", "forbidden")
        pk = data.get("order")
        is_pk = isinstance(pk, int) and not isinstance(pk, bool) and 0 < pk < 2**63
        order = Order.objects.filter(pk=pk).first() if is_pk else None
        if order is None:
            raise CallRefused("There is no such order.", "not_found")
        try:
            order.lock(user, self.caller)
        except Refused as refusal:
            raise CallRefused(str(refusal), "locked") from None
        return {"order": order.pk, "user": user.pk, "version": order.version}

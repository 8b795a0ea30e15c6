"""The page, and the two things that can be done with an order: ordinary form posts that redirect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from exchange.orders.models import Order, Refused
from exchange.orders.row import MODERATOR, audience_of, rows_for


@never_cache
@require_safe
@login_required
def page(request: HttpRequest) -> HttpResponse:
    """The list of orders."""
    return render(request, "orders/page.html", _context(request))


@never_cache
@require_safe
@login_required
def rows(request: HttpRequest) -> HttpResponse:
    """Only the rows, for a page that has missed something. Leaves messages for the next whole page."""
    return render(request, "orders/rows.html", _context(request))


@require_POST
def lock(request: HttpRequest, pk: int) -> HttpResponse:
    """Lock an open order: 403 without `orders.lock_order`, 404 if unknown, else back to the list."""
    if not _user(request).has_perm("orders.lock_order"):
        raise PermissionDenied
    return _act(request, pk, lambda order: order.lock(_user(request), request))


@require_POST
def done(request: HttpRequest, pk: int) -> HttpResponse:
    """Finish an order: 403 for who has no part in the exchange, 404 if unknown, else back to the list."""
    audience = audience_of(_user(request))
    if audience is None:
        raise PermissionDenied
    any_lock = audience == MODERATOR
    return _act(request, pk, lambda order: order.done(_user(request), any_lock=any_lock, request=request))


def _act(request: HttpRequest, pk: int, action: Callable[[Order], None]) -> HttpResponse:
    try:
        action(Order.objects.get(pk=pk))
    except Order.DoesNotExist as error:
        raise Http404 from error
    except Refused as refusal:
        messages.warning(request, str(refusal))
    return redirect("orders")


def _user(request: HttpRequest) -> AbstractUser:
    return cast(AbstractUser, request.user)


def _context(request: HttpRequest) -> dict[str, Any]:
    user = _user(request)
    rows = rows_for(user)
    return {
        "audience": audience_of(user),
        "may_lock": user.has_perm("orders.lock_order"),
        "rows": rows,
        "nothing_to_see": all(row.hidden for row in rows),
    }

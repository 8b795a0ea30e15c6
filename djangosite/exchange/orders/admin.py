"""Orders in Django's admin. Their state is changed by actions, which publish what they do as the site's buttons do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import AbstractUser
from django.db.models import F, QuerySet
from django.http import HttpRequest

from exchange.orders.models import Order, Refused

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Order]
else:
    ModelAdmin = admin.ModelAdmin  # generic in its stubs only


@admin.register(Order)
class OrderAdmin(ModelAdmin):
    """Edits what is traded; shows the state."""

    list_display = ["id", "side", "title", "quantity", "unit", "price", "status", "locked_by", "locked_at", "version"]
    list_display_links = ["id", "title"]
    list_filter = ["status", "side"]
    search_fields = ["title"]
    readonly_fields = ["status", "locked_by", "locked_at", "version"]
    actions = ["finish", "free"]

    def save_model(self, request: HttpRequest, obj: Order, form: Any, change: bool) -> None:
        """Writes only what was edited: the state may have changed since the form was shown."""
        if not change:
            super().save_model(request, obj, form, change)
        elif form.changed_data:
            obj.version = F("version") + 1
            obj.save(update_fields=[*form.changed_data, "version"])
            obj.refresh_from_db()

    @admin.action(description="Finish selected orders", permissions=["delete"])
    def finish(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        """A moderator's `done` for each."""
        finished = 0
        for order in queryset:
            try:
                order.done(cast(AbstractUser, request.user), any_lock=True, request=request)
            except Refused as refusal:
                self.message_user(request, str(refusal), messages.WARNING)
            else:
                finished += 1
        self.message_user(request, f"{finished} finished.")

    @admin.action(description="Free the locks of selected orders", permissions=["change"])
    def free(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        """Open what is locked."""
        freed = sum(order.free() for order in queryset)
        self.message_user(request, f"{freed} freed.")

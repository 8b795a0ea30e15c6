"""The outbox in Django's admin: what waits, what the broker refused, and who relays.

Nothing can be added or edited. A refused event can be sent again when its cause is gone. What has no number can be
deleted; the deletion of a number would be a hole, for which every page reloads. What an event says is not shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from livepush.django.models import OutboxLease, OutboxMessage

if TYPE_CHECKING:
    MessageModelAdmin = admin.ModelAdmin[OutboxMessage]
    LeaseModelAdmin = admin.ModelAdmin[OutboxLease]
else:
    MessageModelAdmin = LeaseModelAdmin = admin.ModelAdmin  # generic in its stubs only


@admin.register(OutboxMessage)
class OutboxMessageAdmin(MessageModelAdmin):
    """Durable events that the broker has not confirmed."""

    list_display = ["id", "state", "key", "created"]  # what a narrow window cuts off is the least
    list_filter = [("failed", admin.EmptyFieldListFilter), "channel"]
    search_fields = ["key"]
    ordering = ["id"]
    fields = ["key", "channel", "created", "number", "failed", "size"]
    readonly_fields = ["key", "channel", "created", "number", "failed", "size"]
    actions = ["send_again"]

    @admin.display(description="state")
    def state(self, row: OutboxMessage) -> str:
        """As the table atop the models has it."""
        if row.failed:
            return f"refused: {row.failed}"
        return "waiting" if row.number is None else f"numbered {row.number}"

    @admin.display(description="bytes")
    def size(self, row: OutboxMessage) -> int:
        """Of the body."""
        return len(row.body)

    @admin.action(description="Send selected refused events again", permissions=["delete"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[OutboxMessage]) -> None:
        """They wait for a number, as if published now."""
        count = queryset.filter(number=None).exclude(failed="").update(failed="")
        self.message_user(request, f"{count} will be sent again.")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without Django's own deletion of a selection, which asks for no row's permission."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def has_add_permission(self, request: HttpRequest, *_: object) -> bool:
        """Events are published, not typed in."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: OutboxMessage | None = None) -> bool:
        """What was published is not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: OutboxMessage | None = None) -> bool:
        """Only of what has no number."""
        return (obj is None or obj.number is None) and super().has_delete_permission(request, obj)


@admin.register(OutboxLease)
class OutboxLeaseAdmin(LeaseModelAdmin):
    """Who relays, and the outbox's identity: `manage.py livepush relay --new-identity` changes it."""

    list_display = ["publisher", "database", "holder", "next"]

    def has_add_permission(self, request: HttpRequest, *_: object) -> bool:
        """The first relay makes it."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: OutboxLease | None = None) -> bool:
        """Only relays write it."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: OutboxLease | None = None) -> bool:
        """Its numbers would begin anew under the old events' rows."""
        return False

"""The outbox in Django's admin."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from livepush.django.models import OutboxLease, OutboxMessage
from livepush.django.outbox import Outbox
from tests.cases import DjangoCase


class OutboxAdminTests(DjangoCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = Client()
        self.client.force_login(User.objects.create_superuser("root", password="x"))
        self.waiting, self.numbered, self.refused = (
            OutboxMessage.objects.create(
                key=f"event.orders.{name}", channel="orders", body=b'"s3cret"', number=number, failed=failed
            )
            for name, number, failed in (("waits", None, ""), ("goes", 7, ""), ("stays", None, "403 no"))
        )

    def get(self, name: str, *arguments: object) -> str:
        answer = self.client.get(reverse(f"admin:livepush_{name}", args=arguments))
        self.assertEqual(answer.status_code, 200)
        return answer.content.decode()

    def test_list(self) -> None:
        """The list tells each row's state; a row's page tells all but what the event says."""
        page = self.get("outboxmessage_changelist")
        for text in ("event.orders.waits", "numbered 7", "refused: 403 no"):
            self.assertIn(text, page)
        places = [page.index(f"column-{name}") for name in ("state", "key", "created")]
        self.assertEqual(places, sorted(places), "in a narrow window the filters cut off the last columns")
        page = self.get("outboxmessage_change", self.refused.pk)
        self.assertIn("403 no", page)
        self.assertNotIn("s3cret", page)

    def test_send_again(self) -> None:
        """Refused rows wait again; others are left alone."""
        rows = [self.waiting.pk, self.numbered.pk, self.refused.pk]
        data = {"action": "send_again", "_selected_action": rows}
        self.client.post(reverse("admin:livepush_outboxmessage_changelist"), data)
        states = OutboxMessage.objects.order_by("pk").values_list("number", "failed")
        self.assertEqual(list(states), [(None, ""), (7, ""), (None, "")])

    def test_delete(self) -> None:
        """A row without a number can be deleted, one with a number can't, nor many at once."""
        for row, status in ((self.refused, 302), (self.numbered, 403)):
            url = reverse("admin:livepush_outboxmessage_delete", args=[row.pk])
            self.assertEqual(self.client.post(url, {"post": "yes"}).status_code, status)
        data = {"action": "delete_selected", "_selected_action": [self.numbered.pk], "post": "yes"}
        self.client.post(reverse("admin:livepush_outboxmessage_changelist"), data)
        self.assertEqual(set(OutboxMessage.objects.values_list("pk", flat=True)), {self.waiting.pk, self.numbered.pk})

    def test_read_only(self) -> None:
        """Nothing is added or edited, and the lease is only shown."""
        Outbox("default").lease()
        lease = OutboxLease.objects.get()
        self.assertIn(lease.publisher, self.get("outboxlease_changelist"))
        for name in ("outboxmessage", "outboxlease"):
            self.assertEqual(self.client.get(reverse(f"admin:livepush_{name}_add")).status_code, 403)
        for name, pk in (("outboxmessage_change", self.waiting.pk), ("outboxlease_change", 1)):
            url = reverse(f"admin:livepush_{name}", args=[pk])
            self.assertEqual(self.client.post(url, {"publisher": "x", "key": "x"}).status_code, 403)
        self.assertEqual(self.client.get(reverse("admin:livepush_outboxlease_delete", args=[1])).status_code, 403)

"""The broker that an action of the command is to use: its option `--broker`, else the setting."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from livepush.broker.errors import BadURL
from livepush.broker.url import BrokerURL, without_password
from livepush.django.conf import conf


def add_broker(action: ArgumentParser) -> None:
    """The option."""
    action.add_argument("--broker", help="amqp://... or embedded:[PORT] [LIVEPUSH_BROKER_URL]")


def broker_of(options: dict[str, Any]) -> BrokerURL:
    """What it says.

    Raises:
        CommandError: it can't be used; with its value, but for the account in it.
    """
    given = options["broker"]
    try:
        return conf().broker(given)
    except BadURL as error:
        raise CommandError(f"--broker {without_password(given)!r}: {error}") from None

"""Waiting for the broker's word about what a command has sent, with an end that people understand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.core.management.base import CommandError

from livepush.broker.errors import PublishError
from livepush.django.conf import conf
from livepush.django.outlet import outlet

T = TypeVar("T")


def confirmed(result: Callable[[float], T], seconds: float, failed: str) -> T:
    """What it comes to.

    Args:
        result: waits so many seconds at most; then `TimeoutError`.
        seconds: to wait.
        failed: how people are told that it did not work, such as "not published".

    Raises:
        CommandError: the broker has refused it, or not confirmed it in time; then it is not sent later either.
    """
    try:
        return result(seconds)
    except TimeoutError:
        publisher = outlet.publisher()
        why = publisher.trouble or "`manage.py livepush topology` says whether it can be reached"
        publisher.close(0)  # it is told as failed, so it must not go out after all
        raise CommandError(
            f"{failed}: {conf().broker().safe} has not confirmed it within {seconds:g} s; "
            f"{why.removeprefix('livepush: ')}"
        ) from None
    except PublishError as error:
        raise CommandError(f"{failed}: {error}") from None

"""`manage.py livepush topology`: makes what livepush needs of the broker, and says what was there.

--broker URL    with a user that may; `LIVEPUSH_BROKER_URL` usually names one that may only publish
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from livepush.broker.hush import hushed
from livepush.broker.topology import LOG
from livepush.broker.url import BrokerURL
from livepush.django.conf import conf
from livepush.django.management.address import add_broker, broker_of

if TYPE_CHECKING:
    from pika import BlockingConnection

    from livepush.broker.construction import Unbuildable


def add_arguments(action: ArgumentParser) -> None:
    """The options of `topology`."""
    add_broker(action)


def topology(options: dict[str, Any], write: Callable[[str], object]) -> None:
    """Makes what is missing.

    Args:
        write: gets a line for each part, as soon as it is known.

    Raises:
        CommandError: something can't be made, or is there and different; with what to do.
    """
    from livepush.broker.construction import Outcome, Unbuildable, build

    url = broker_of(options)
    unseen = False
    with _connected(url) as connection:
        try:
            for part in build(connection, conf().log_seconds, conf().log_segment_bytes):
                unseen = unseen or part.outcome is Outcome.UNSEEN
                write(f"{part.outcome}: {part.what}")
        except Unbuildable as error:
            raise CommandError(f"{url.safe}: {_remedy(url, error)}") from None
    if unseen:
        write(
            f"User {url.user!r} may make none of what was not checked; to be sure of it, name one who may (--broker)."
        )


@contextmanager
def _connected(url: BrokerURL) -> Iterator[BlockingConnection]:
    """A connection for a while; pika says nothing. `CommandError` when there is none or when it is lost."""
    from pika import BlockingConnection
    from pika.exceptions import AMQPError

    connection = None
    with hushed():
        try:
            connection = BlockingConnection(url.parameters(name="livepush topology"))
            yield connection
        except (AMQPError, OSError) as error:
            raise CommandError(f"{url.safe}: {_why(url, error)}") from None
        finally:
            if connection is not None and connection.is_open:
                connection.close()


def _why(url: BrokerURL, error: BaseException) -> str:
    """Why there is no connection, and what to do."""
    from pika import exceptions

    match error:
        case exceptions.ProbableAuthenticationError():
            return f"the broker refuses user {url.user!r} or its password; correct LIVEPUSH_BROKER_URL"
        case exceptions.ProbableAccessDeniedError():
            return f"the broker refuses virtual host {url.vhost!r} to user {url.user!r}; make it, or give it the right"
        case exceptions.ConnectionClosedByBroker():
            return f"the broker closed the connection with {error.reply_code} {error.reply_text}"
        case exceptions.IncompatibleProtocolError():
            return "what listens there speaks no AMQP; correct LIVEPUSH_BROKER_URL (amqps:// for TLS)"
    started = "is a daemon with the embedded broker running?" if url.embedded else "is the broker running?"
    return f"can't be reached; {started}"


def _remedy(url: BrokerURL, error: Unbuildable) -> str:
    """Why a part can't be made, and what to do."""
    if error.starting:
        return f"the node of {error.what} is down or only just starting ({error.text}); try again"
    if error.missing and error.code == 403:
        return (
            f"there is no {error.what}, and user {url.user!r} may not make it; run this with a user that may "
            "(--broker), or import broker/rabbitmq/definitions.json"
        )
    if error.code == 406 and error.what == f"log {LOG!r}":
        return (
            f"the {error.what} has other arguments ({error.text}); set LIVEPUSH_LOG_SECONDS and "
            "LIVEPUSH_LOG_SEGMENT_BYTES to what it has, or delete it (rabbitmqctl -p "
            f"{url.vhost} delete_queue {LOG}) and run this again at once: the pages load their state again"
        )
    if error.code == 406:
        return f"there is another {error.what} ({error.text}); delete it, or use another virtual host"
    return f"the broker refused {error.what} with {error.code} {error.text}"

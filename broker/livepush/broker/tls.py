"""TLS towards a server whose address names the files: for pika, and for Django's client of Redis.

Twisted's endpoints have their own (`endpoint`).
"""

from __future__ import annotations

import ssl
from typing import Protocol

from livepush.broker.errors import BadURL


class Address(Protocol):
    """What an address says of it; see `BrokerURL` and `RedisURL`."""

    @property
    def safe(self) -> str:
        """The address without the account."""

    @property
    def cacertfile(self) -> str | None:
        """PEM file of the authorities to trust; None: the system's."""

    @property
    def certfile(self) -> str | None:
        """PEM file of a client certificate; None: there is none."""

    @property
    def keyfile(self) -> str | None:
        """PEM file of its key; None: it is in the other."""


def client_context(url: Address) -> ssl.SSLContext:
    """With certificates verified.

    Raises:
        BadURL: a certificate file can't be read.
    """
    try:
        context = ssl.create_default_context(cafile=url.cacertfile)
        if url.certfile is not None:
            context.load_cert_chain(url.certfile, url.keyfile)
    except (OSError, ValueError) as error:
        files = ", ".join(name for name in (url.cacertfile, url.certfile, url.keyfile) if name)
        raise BadURL(f"{url.safe}: can't load {files}: {type(error).__name__}") from None
    return context

"""How a server is reached over TCP, and over TLS where its address says so: the broker, and Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from OpenSSL.SSL import Error as TLSError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates

from livepush.broker.errors import ConnectionFailed

_BEGIN = b"-----BEGIN CERTIFICATE-----"


class Address(Protocol):
    """What an address says of it; see `BrokerURL` and `RedisURL`."""

    @property
    def host(self) -> str:
        """Its name, which the certificate must bear."""

    @property
    def port(self) -> int:
        """Of TCP."""

    @property
    def tls(self) -> bool:
        """Whether it is spoken there."""

    @property
    def cacertfile(self) -> str | None:
        """PEM file of the authorities to trust; None: the system's."""

    @property
    def certfile(self) -> str | None:
        """PEM file of a client certificate; None: there is none."""

    @property
    def keyfile(self) -> str | None:
        """PEM file of its key; None: it is in the other."""


def endpoint_for(reactor: Any, url: Address) -> IStreamClientEndpoint:
    """Where to connect; with TLS where the address says so, certificate and host name verified.

    Raises:
        ConnectionFailed: a certificate file can't be read.
    """
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, url.host, url.port)
    if not url.tls:
        return endpoint
    options: dict[str, Any] = {}
    try:
        if url.cacertfile is not None:
            blocks = Path(url.cacertfile).read_bytes().split(_BEGIN)[1:]
            authorities = [Certificate.loadPEM(_BEGIN + block) for block in blocks]
            options["trustRoot"] = trustRootFromCertificates(authorities)
        if url.certfile is not None:
            files = [Path(name).read_bytes() for name in (url.certfile, url.keyfile) if name is not None]
            options["clientCertificate"] = PrivateCertificate.loadPEM(b"\n".join(files))
        return wrapClientTLS(optionsForClientTLS(url.host, **options), endpoint)
    except (OSError, ValueError, TLSError) as problem:
        names = ", ".join(name for name in (url.cacertfile, url.certfile, url.keyfile) if name)
        raise ConnectionFailed(
            f"can't load {names}: {type(problem).__name__}", "give PEM files that this user may read"
        ) from None

"""Why there is no connection to the broker, in words for whoever runs it: the likely cause and a remedy."""

from __future__ import annotations

import pika.exceptions
from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet import error
from twisted.python.failure import Failure

from livepush.broker.errors import ConnectionFailed
from livepush.broker.url import BrokerURL


def amqp_cause(url: BrokerURL, problem: BaseException | None) -> ConnectionFailed | None:
    """What pika says, and what it guesses from the state in which the broker hung up; None: it does not know.

    RabbitMQ answers a wrong password with connection.close 403, older brokers by hanging up; a wrong virtual host with
    530. pika tells both by the state that the handshake was in.
    """
    match problem:
        case pika.exceptions.ProbableAuthenticationError():
            return ConnectionFailed(
                f"the broker refuses user {url.user!r} or its password",
                "check LIVEPUSH_BROKER_URL, and `rabbitmqctl authenticate_user`",
            )
        case pika.exceptions.ProbableAccessDeniedError():
            return ConnectionFailed(
                f"the broker refuses virtual host {url.vhost!r} to user {url.user!r}",
                "check that it exists (`rabbitmqctl list_vhosts`) and the user's rights there (`list_permissions`)",
            )
        case pika.exceptions.IncompatibleProtocolError():
            other = "amqp:// without TLS" if url.tls else "amqps:// when it wants TLS"
            return ConnectionFailed(
                f"{url.host}:{url.port} hung up before a word of AMQP", f"check host and port; use {other}"
            )
        case pika.exceptions.ConnectionClosedByBroker():
            return ConnectionFailed(f"the broker closed the connection with {problem.reply_code} {problem.reply_text}")
        case pika.exceptions.AMQPHeartbeatTimeout():
            return ConnectionFailed(
                "the broker's heartbeats stopped", "look at the network and at the broker's machine"
            )
        case pika.exceptions.StreamLostError() | pika.exceptions.ConnectionClosedByClient() | None:
            return None
    return ConnectionFailed(f"AMQP failed: {type(problem).__name__}")


def tls_cause(url: BrokerURL, reason: Failure) -> ConnectionFailed | None:
    """Why there is no TLS; None where that was not it."""
    if not url.tls or reason.check(TLSError, VerificationError) is None:
        return None
    arguments: tuple[object, ...] = getattr(reason.value, "args", ())
    words = arguments[0] if arguments else None
    text = ", ".join(str(word[-1]) for word in words if word) if isinstance(words, list) else ""
    return ConnectionFailed(
        f"TLS with {url.host}:{url.port} failed: {text or type(reason.value).__name__}",
        "the certificate must name the host and be signed by an authority of the system or of the cacertfile option;"
        " a port without TLS wants amqp://",
    )


def network_cause(url: BrokerURL, reason: Failure) -> ConnectionFailed:
    """What the network says. This always has an answer."""
    problem = reason.value
    where = f"{url.host}:{url.port}"
    if isinstance(problem, error.ConnectionRefusedError):
        return ConnectionFailed(f"nothing listens on {where}", "start the broker, or correct LIVEPUSH_BROKER_URL")
    if isinstance(problem, error.DNSLookupError | error.UnknownHostError):
        return ConnectionFailed(f"no host {url.host!r} is known", "correct LIVEPUSH_BROKER_URL, or the name service")
    if isinstance(problem, error.TimeoutError):
        return ConnectionFailed(f"{where} does not answer", "look at the network and its firewalls")
    if isinstance(problem, error.ConnectionDone | error.ConnectionLost):
        return ConnectionFailed(
            f"the connection to {where} was lost", "the broker's log says why, if it was the broker"
        )
    return ConnectionFailed(f"{where} can't be reached: {type(problem).__name__} {problem}".rstrip())

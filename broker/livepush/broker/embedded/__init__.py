"""A small AMQP 0-9-1 broker inside a Twisted process, for development, demonstrations and tests.

    broker = EmbeddedBroker("me", "secret", clock=reactor)
    port = reactor.listenTCP(5673, broker, interface="127.0.0.1")
    ...
    await port.stopListening()
    await broker.close()

It does what RabbitMQ does, by the same contract suite, for this part of AMQP: topic, direct and fanout exchanges;
classic queues, exclusive, auto-delete, bounded by `x-max-length`, `x-max-length-bytes` and `x-overflow`; streams, read
from an offset or an interval; publishing with `mandatory` and with confirms; consuming with prefetch, `ack`, `nack`,
`reject`, `get`; consumer cancel notification; heartbeats. Everything else is refused with the reply code that RabbitMQ
has for it, never silently accepted: transactions, dead letters, message expiry, exchange-to-exchange bindings, global
prefetch, offsets that are dates, other virtual hosts than `/`.

It is for one machine and keeps nothing over a restart: `durable` is accepted and means nothing, also for a stream.
Everything a client can make it hold has a bound (`Limits`). Hostile bytes end the connection that they came on, and no
other.
"""

from livepush.broker.embedded.broker import EmbeddedBroker
from livepush.broker.embedded.limits import Limits

__all__ = ["EmbeddedBroker", "Limits"]

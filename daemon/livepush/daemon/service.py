"""The daemon's parts, made out of the command line and Django's settings, and put together. `lifecycle` runs them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any

from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.web.resource import IResource

from livepush.broker.errors import BadURL
from livepush.broker.feed import Feed, FeedSettings
from livepush.broker.redisurl import RedisURL
from livepush.broker.url import BrokerURL, without_password
from livepush.daemon import activation, socketiolink, workers
from livepush.daemon.addresses import Proxies
from livepush.daemon.calls import Calls, CallSettings
from livepush.daemon.errors import BadOption
from livepush.daemon.front import Front
from livepush.daemon.hub import Hub
from livepush.daemon.lifecycle import Availability, Daemon, Listener
from livepush.daemon.metrics import Metrics
from livepush.daemon.options import CommandLine, loopback
from livepush.daemon.pool import Pool
from livepush.daemon.presence import Presence, PresenceSettings
from livepush.daemon.reading import Reading
from livepush.daemon.redemption import Redemption
from livepush.daemon.redisregistry import RedisRegistry
from livepush.daemon.registry import MemoryRegistry, Registry
from livepush.daemon.reload import Settled
from livepush.daemon.ring import RingSettings
from livepush.daemon.settings import Limits, Settings
from livepush.daemon.sockjs import SockJSEndpoint
from livepush.daemon.sockjsapp import SockJSSettings
from livepush.daemon.sockjspush import classic, native
from livepush.daemon.sse import SSEEndpoint
from livepush.daemon.status import Status
from livepush.daemon.web import Web, resources
from livepush.daemon.websocket import WebSocketEndpoint
from livepush.daemon.workers import Workers

if TYPE_CHECKING:
    from livepush.daemon.identity import Site

REMEMBER_SECONDS = 5.0
"""How long a session's user is known without a look-up; see `livepush.daemon.remembered`."""


DRAIN_SECONDS = 10.0
"""Where other processes take the clients over, and `LIVEPUSH_DRAIN_SECONDS` says nothing."""


def make_service(command_line: CommandLine, reactor: Any, site: Site | None = None, key: bytes | None = None) -> Daemon:
    """The daemon for a command line.

    Args:
        command_line: overrides the site's settings.
        reactor: that it will run on.
        site: the Django site, where Django is set up already; else it is set up here, which blocks.
        key: with which its settings can be read anew; None: they can't.

    Raises:
        BadOption: the daemon can't start with an option, or with what Django's settings say in its place.
    """
    site = site or _load(command_line, reactor)
    conf = site.conf
    given = command_line.broker is not None
    try:
        url = conf.broker(command_line.broker)
        url.ssl_context()
    except BadURL as error:
        option = "--broker" if given else "LIVEPUSH_BROKER_URL"
        raise BadOption(option, without_password(command_line.broker or ""), str(error)) from None
    if (fault := conf.log_fault) is not None:
        raise BadOption(fault.setting, conf.log_seconds, fault.why)
    listen = command_line.listen or (loopback(conf.port),)
    activation.check(listen)
    shared = [text for text in listen if activation.is_passed(text)]
    drain = conf.drain_seconds if conf.drain_seconds is not None else DRAIN_SECONDS if shared else 0
    settings = Settings(
        listen=listen,
        limits=Limits(
            connections=conf.max_connections,
            message_bytes=conf.message_bytes,
            message_depth=conf.message_depth,
            outbound_bytes=conf.outbound_bytes,
            subscriptions=conf.subscriptions,
            message_rate=conf.message_rate,
            message_burst=conf.message_burst,
            user_connections=conf.user_connections,
            address_connections=conf.address_connections,
            header_bytes=conf.header_bytes,
            request_seconds=conf.request_timeout,
            hello_seconds=conf.hello_timeout,
            heartbeat_seconds=conf.heartbeat,
            retry_ms=conf.retry,
        ),
        status_token=conf.status_token,
        drain_seconds=drain,
        instance=command_line.instance,
    )
    hub = Hub(
        site.directory,
        reactor,
        RingSettings(conf.ring_seconds, conf.ring_events, conf.ring_bytes),
        sweep_seconds=conf.sweep_seconds,
        remember_seconds=REMEMBER_SECONDS,
    )
    hub.reidentification.room = lambda: site.identifier.room
    feed_settings = FeedSettings(
        url,
        instance=settings.instance,
        queue_length=conf.queue_length,
        ring_seconds=conf.ring_seconds,
        log_seconds=conf.log_seconds,
        log_segment_bytes=conf.log_segment_bytes,
    )
    feed = Feed(reactor, feed_settings, hub)
    hub.follow(feed.intake.log)
    feed.intake.on_arrival = hub.latency.arrived
    site.identifier.redemption = redemption = Redemption(reactor, feed.claim)
    feed.on_claim = redemption.met
    hub.waiting.is_ready = lambda: feed.ready
    feed.watch(lambda _: hub.flush())
    availability = Availability(feed)
    feed.watch(lambda _: availability.changed())
    calls = hub.calls = _calls(site, url, reactor)
    presence = hub.presence = _presence(site, hub, reactor)
    proxies = Proxies.of(conf.trusted_proxies)
    front = Front(
        hub,
        site.identifier,
        site.origins,
        settings.limits,
        reactor,
        availability.is_ready,
        proxies,
        is_overloaded=lambda: site.identifier.is_full,
    )
    served = transports(front, conf.sockjs_prefixes, conf.sockjs_legacy, conf.sockjs_client)
    metrics = Metrics(front, feed, site.identifier, calls, presence)
    status = Status(settings.status_token, lambda: hub.connections, availability.reasons, metrics.render)
    web = Web(resources(served, status), reactor, front.admission)
    listeners = [
        Listener(
            _endpoint(reactor, text),
            web,
            f"--listen {text}",
            "end what listens there, or name another address with --listen or --port",
            shared=activation.is_passed(text),
        )
        for text in settings.listen
    ]
    if command_line.status is not None:
        listeners.append(_status_listener(reactor, command_line.status_of(settings.instance), status))
    warnings = activation.warnings(listen)
    embedded = None
    if url.embedded:
        from livepush.broker.embedded import EmbeddedBroker  # nobody else needs a broker's code

        embedded = EmbeddedBroker(url.user, url.password, clock=reactor)
        listeners.insert(0, _embedded_listener(reactor, url, embedded))
        warnings.append(
            f"The embedded broker is for one machine and keeps nothing over a restart; it listens on {url.host}:"
            f"{url.port}. In production name a RabbitMQ with LIVEPUSH_BROKER_URL."
        )
    if shared and conf.redis_url is None and any(rule.presence for rule in site.directory.rules):
        warnings.append(
            "A channel declares presence, and each process knows only its own users: where several share an address, "
            "name a Redis with LIVEPUSH_REDIS_URL."
        )
    if command_line.shows_password:
        warnings.append(
            "The broker's password stands on the command line, where every user of this machine can read it: "
            "give the URL in the environment, as LIVEPUSH_BROKER_URL."
        )
    daemon = Daemon(
        reactor,
        settings,
        listeners,
        availability,
        feed,
        hub,
        site.identifier,
        calls,
        embedded,
        warnings,
        presence=presence,
    )
    if key is not None:
        default = DRAIN_SECONDS if shared else 0.0
        set_drain = lambda seconds: daemon.take_time(default if seconds is None else seconds)  # noqa: E731
        daemon.settled = Settled(Reading.of(site, key), front, set_drain)
    return daemon


def _status_listener(reactor: Any, text: str, status: Status) -> Listener:
    """Where this process alone tells of itself: nothing else is served there, and no client counts."""
    web = Web(resources({}, replace(status, by_socket=True)), reactor)
    remedy = "end what listens there, or name another address, one for each process ({instance} is its name)"
    return Listener(_endpoint(reactor, text, "--status"), web, f"--status {text}", remedy)


def make_workers(command_line: CommandLine, reactor: Any, environ: Mapping[str, str]) -> Workers:
    """The parent of several daemons.

    Args:
        command_line: with `workers`.
        reactor: that it will run on.
        environ: of this process.

    Raises:
        BadOption: the daemons can't start with an option, or with what Django's settings say in its place.
    """
    assert command_line.workers is not None
    conf = _load(command_line, reactor).conf
    if conf.broker(command_line.broker).embedded:
        why = "can't share the embedded broker, which lives in one process: name a RabbitMQ with LIVEPUSH_BROKER_URL"
        raise BadOption("--workers", command_line.workers, f"{why}, or leave --workers out")
    listen = command_line.listen or (loopback(conf.port),)
    workers.check(listen)
    drain = DRAIN_SECONDS if conf.drain_seconds is None else conf.drain_seconds
    return Workers(
        reactor,
        listen,
        lambda text: workers.open_socket(_endpoint(reactor, text), f"--listen {text}"),
        workers.command_of(command_line, command_line.log_level),
        command_line.workers,
        workers.environment_of(command_line, environ),
        drain + Settings().stop_seconds,
    )


def _calls(site: Site, url: BrokerURL, reactor: Any) -> Calls:
    from livepush.daemon.receiver import Receiver  # Django is imported when it is needed

    conf = site.conf
    settings = CallSettings(conf.call_threads, conf.call_queue, conf.call_timeout, conf.calls)
    # The broker in this process has one user, who may publish; of another only the settings name such a user.
    own = url if url.embedded and conf.publish_url is None else None
    receiver = Receiver(site.identifier.settings, broker=own)
    pool = Pool("livepush-calls", settings.threads, settings.queue, reactor, receiver.end)
    return Calls(settings, pool, receiver.perform, reactor)


def _presence(site: Site, hub: Hub, reactor: Any) -> Presence:
    conf = site.conf
    registry: Registry = MemoryRegistry()
    if conf.redis_url is not None:
        if find_spec("txredisapi") is None:
            raise BadOption("LIVEPUSH_REDIS_URL", "(not shown)", "needs txredisapi: pip install 'livepush[redis]'")
        node = f"{gethostname()}.{os.getpid()}.{hub.nonce}"
        url = RedisURL.parse(conf.redis_url)
        try:
            url.ssl_context()
        except BadURL as error:
            raise BadOption("LIVEPUSH_REDIS_URL", url.safe, str(error)) from None
        registry = RedisRegistry(
            reactor,
            url,
            node,
            prefix=conf.redis_prefix,
            ttl_seconds=conf.presence_ttl,
            timeout_seconds=conf.redis_timeout,
        )
    settings = PresenceSettings(conf.presence_grace, conf.presence_users)
    started = int(time.time())

    def about() -> dict[str, object]:
        return {"host": gethostname(), "pid": os.getpid(), "started": started, "connections": hub.connections}

    return Presence(registry, site.directory, hub, reactor, settings, about)


def transports(
    front: Front, sockjs_prefixes: Sequence[str] = (), sockjs_legacy: bool = False, sockjs_client: str | None = None
) -> dict[str, IResource]:
    """What answers at which path.

    Args:
        front: what they share.
        sockjs_prefixes: paths at which SockJS is spoken in the classic manner, such as `/orders`.
        sockjs_legacy: also serve the SockJS transports of browsers without CORS: JSONP, htmlfile, iframe.
        sockjs_client: the address of sockjs-client for the page inside the iframe; None: there is no iframe.
    """
    sockjs = SockJSSettings(legacy=sockjs_legacy, client=sockjs_client)
    prefixes = {prefix: SockJSEndpoint(front, classic(front, prefix), sockjs) for prefix in sockjs_prefixes}
    return {
        "/livepush/ws": WebSocketEndpoint(front),
        "/livepush/sse": SSEEndpoint(front),
        "/livepush/sockjs": SockJSEndpoint(front, native(front), sockjs),
        "/socket.io": socketiolink.endpoint(front),
        **prefixes,
    }


def _load(command_line: CommandLine, reactor: Any) -> Site:
    from livepush.daemon import identity  # Django is imported when it is needed

    folder = command_line.pythonpath or str(Path.cwd())
    try:
        return identity.load(command_line.settings, folder, reactor)
    except Exception as error:
        # The site's own code; whatever it raises, the operator wants one line and not our traceback.
        module = command_line.settings or "DJANGO_SETTINGS_MODULE"
        named = type(error).__name__
        text = str(error) if named == "ImproperlyConfigured" else f"{named}: {error}"
        remedy = f"Django can't start with these settings (--pythonpath {folder}): {text}"
        raise BadOption("--settings", module, remedy) from error


def _endpoint(reactor: Any, text: str, option: str = "--listen") -> IStreamServerEndpoint:
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:
        # Every kind of endpoint has its own parser, with its own errors: wrong kinds, missing files, odd arguments.
        remedy = f"is no endpoint that Twisted can open ({error}); one is tcp:8989:interface=127.0.0.1"
        raise BadOption(option, text, remedy) from None
    return endpoint


def _embedded_listener(reactor: Any, url: BrokerURL, broker: IProtocolFactory) -> Listener:
    return Listener(
        TCP4ServerEndpoint(reactor, url.port, interface=url.host),
        broker,
        f"--broker embedded:{url.port}",
        "end what listens there, or name another port with --broker embedded:PORT "
        "(the site's LIVEPUSH_BROKER_URL must name the same)",
    )

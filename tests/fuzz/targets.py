"""Who reads what others wrote: wire codecs, envelope, broker, addresses, cookies and tickets."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from livepush.broker import envelope as envelope_module
from livepush.broker import strictjson
from livepush.broker.deliveries import DeliveryReader, FrameError, read_properties
from livepush.broker.envelope import BODY_BYTES, Event, Only, Skip, decode, encode_event, headers_of
from livepush.broker.errors import BadName, BadURL, Malformed
from livepush.broker.names import ChannelPattern, check_channel, event_key
from livepush.broker.url import BrokerURL, without_password
from livepush.daemon.origin import OriginSettings
from livepush.daemon.position import Position
from livepush.django.errors import BadTicket
from livepush.django.sessions import Sessions
from livepush.django.tickets import read_ticket
from livepush.wire import engineio, native, sockjs, sockjshttp
from livepush.wire.errors import BadMessage
from livepush.wire.native import NativeEncoder
from livepush.wire.requests import ErrorCode, Hello
from livepush.wire.socketio import MAX_ATTACHMENTS, Decoder, Kind, Packet, encode
from livepush.wire.sse import SSEEncoder, hello_of
from tests.cases import migrate
from tests.clients.eventsource import EventSource
from tests.fuzz.inputs import json_bytes, objects, pieces, spoiled, spoiled_text, texts, values

DEPTH = 32


@dataclass(frozen=True, slots=True)
class Target:
    """A reader.

    Attributes:
        name: what is printed.
        inputs: what it is given.
        check: raises when it does what it must not.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Any], None]


TARGETS: list[Target] = []
"""All of them; `tests.fuzz.servers` adds its own."""


def target(inputs: st.SearchStrategy[Any]) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Puts a property into the list, under its own name."""

    def add(check: Callable[[Any], None]) -> Callable[[Any], None]:
        TARGETS.append(Target(check.__name__, inputs, check))
        return check

    return add


# -- what browsers say -------------------------------------------------------------------------------------------------

_MESSAGES = json_bytes(
    objects(
        "op", "n", "tab", "channels", "channel", "since", "type", "data", "ticket", right={"n": 1, "channel": "orders"}
    ).flatmap(
        lambda message: st.sampled_from(("hello", "subscribe", "unsubscribe", "call", "x")).map(
            lambda op: {"op": op, **message}
        )
    )
) | spoiled(
    b'{"op":"hello","n":0,"tab":"k3f9","channels":{"orders":"me.5.17.abcdefgh","chat":null}}',
    b'{"op":"call","n":3,"channel":"orders","type":"lock","data":{"order":5}}',
)


@target(_MESSAGES)
def native_message(raw: bytes) -> None:
    """A message is a request whose texts can be sent and looked up, or is refused in words that repeat nothing."""
    try:
        request = native.parse(raw, DEPTH)
    except BadMessage as error:
        must(len(error.why) < 123, error.why)
        return
    repr(request).encode()
    NativeEncoder().error(request.n, ErrorCode.UNKNOWN_OP, "no")


@target(
    st.lists(
        spoiled_text(
            "40", '40{"pid":"x","offset":"y"}', '42["lock",{"order":5}]', '421["livepush:subscribe",{"channel":"a"}]',
            '451-["x",{"_placeholder":true,"num":0}]', "41", '43/admin,5["x"]',
        ).map(lambda text: text[1:])
        | st.binary(max_size=40),
        max_size=4,
    )
)  # fmt: skip
def socketio_packets(messages: list[str | bytes]) -> None:
    """Each message is a packet, part of one, or refused; a packet can be written again."""
    decoder = Decoder(DEPTH, 4_096)
    with suppress(BadMessage):
        for message in messages:
            packet = decoder.message(message)
            if packet is not None:
                encode(packet)


@target(st.tuples(st.text(max_size=8), st.lists(values | st.binary(max_size=8), max_size=4), st.integers(0, 2**53 - 1)))
def socketio_whole(said: tuple[str, list[Any], int]) -> None:
    """What one side writes the other reads."""
    name, arguments, number = said
    packet = Packet(Kind.EVENT, "/", [f"x{name}", *arguments], number)
    decoder = Decoder(DEPTH + 2, 2**20)
    read: Packet | None = None
    try:
        messages = encode(packet)
    except ValueError:
        return  # a number that JSON has no form for
    try:
        for message in messages:
            read = decoder.message(message)
    except BadMessage as error:
        odd = any(has_placeholder(each) or has_surrogate(each) for each in packet.data)
        must(odd or len(messages) > MAX_ATTACHMENTS + 1, error)
        return
    must(read == packet, read)


@target(spoiled(b"40", b'42["lock",{"order":5}]\x1e3', b"bAAEC\x1e1", b"2probe", b"5", b"4\x1e4\x1e4"))
def engineio_body(body: bytes) -> None:
    """A POST is packets, or it is refused; each packet is an event, or ends the session."""
    with suppress(BadMessage):
        for event in engineio.Session(engineio.Phase.POLLING).posted(body):
            repr(event)


@target(st.lists(spoiled_text("2probe", "5", "40", "3", "1", "") | st.binary(max_size=20), max_size=6))
def engineio_frames(messages: list[str | bytes]) -> None:
    """The same for a WebSocket that takes a session over."""
    session = engineio.Session(engineio.Phase.POLLING)
    session.attach()
    with suppress(BadMessage):
        for message in messages:
            session.framed(message)


@target(json_bytes(values) | spoiled(b'["{\\"op\\":\\"hello\\"}"]', b'["a","b"]', b'"a"'))
def sockjs_array(body: bytes) -> None:
    """An array of texts, each in UTF-8 and within the bound, or a refusal."""
    with suppress(BadMessage):
        for message in sockjs.read_array(body, 1_000, lone=True):
            must(len(message) <= 1_000, None)
            message.decode()


@target(spoiled(b"d=%5B%22a%22%5D", b"c=f&d=x", b"d=" + b"%41" * 50))
def sockjs_form(body: bytes) -> None:
    """A form has a field `d`, or is none."""
    with suppress(BadMessage):
        sockjshttp.read_form(body).decode()


@target(st.tuples(values, spoiled_text("callback", "a.b.c", "f") | st.none()))
def sockjs_script(said: tuple[Any, str | None]) -> None:
    """Whatever an event holds, a script that carries it holds no end of a script, and its callback is a name."""
    value, callback = said
    try:
        name = sockjshttp.read_callback(callback)
    except sockjshttp.BadCallback:
        return
    must(name.isascii() and not set(name) & set("<>()\"';/ \r\n\\"), name)
    try:
        frame = sockjs.array(sockjs.object_piece(json.dumps(value, ensure_ascii=False).encode()))
    except UnicodeEncodeError:
        return  # no such event comes here
    for kind in (sockjshttp.JSONP, sockjshttp.HTMLFILE):
        told = sockjshttp.wrap(kind, frame, name).removesuffix(b"\n</script>\r\n").removeprefix(b"<script>")
        must(b"</" not in told and b"<!--" not in told, told)


@target(
    st.tuples(
        st.dictionaries(
            st.sampled_from((b"channels", b"tab", b"since", b"ticket", b"x")),
            st.lists(spoiled(b"orders,a", b"t1"), max_size=2),
        ),
        st.none() | spoiled(b"me.5.17.abcdefgh a1-17"),
    )
)
def sse_address(said: tuple[dict[bytes, list[bytes]], bytes | None]) -> None:
    """The address of a stream is a hello, or is refused."""
    with suppress(BadMessage):
        must(isinstance(hello_of(*said), Hello), said)


@target(st.tuples(values.map(lambda value: {"x": value}), st.lists(st.floats(0, 1), max_size=4)))
def sse_stream(said: tuple[dict[str, Any], list[float]]) -> None:
    """Whatever an event holds, a browser reads one message that says it, however its bytes are cut."""
    data, places = said
    try:
        told = SSEEncoder().event(Event("orders", "lock", {}), data, "a1-17", 12, "me.5.17.abcdefgh")
    except (UnicodeEncodeError, ValueError):
        return  # `publish` and the envelope let no such thing in
    source = EventSource()
    cuts = sorted({0, len(told), *(int(place * len(told)) for place in places)})
    found = [message for begin, end in pairwise(cuts) for message in source.feed(told[begin:end])]
    must(len(found) == 1 and found[0].type == "message" and found[0].id == "me.5.17.abcdefgh a1-17", found)
    must(found[0].said["data"] == data, found)


@target(spoiled_text("me.5.17.abcdefgh", "me.5..", "me.5.17.abcdefgh~a1-17~b2-3"))
def position(text: str) -> None:
    """A position is read as it was written, or not at all."""
    found = Position.parse(text)
    must(found is None or (str(found) == text and found.led() is not None), text)


@target(
    st.tuples(
        spoiled(b"https://good.example", b"http://127.0.0.1:8000", b"null"), spoiled(b"good.example", b"127.0.0.1:8000")
    )
)
def origin(said: tuple[bytes, bytes]) -> None:
    """A page is of an origin that is named, or is refused."""
    claimed, host = said
    settings = OriginSettings(allowed=("https://good.example", "https://*.wild.example"))
    if settings.verdict(claimed, host, True) is None:
        assert claimed in (b"https://good.example", b"https://good.example:443") or claimed.endswith(
            (b".wild.example", b".wild.example:443")
        ), claimed
    OriginSettings(trusted=("https://a.example",), hosts=(".good.example", "127.0.0.1")).verdict(claimed, host, True)


# -- who they say they are ---------------------------------------------------------------------------------------------

_DB, _SIGNED, _FILE = (f"django.contrib.sessions.backends.{name}" for name in ("db", "signed_cookies", "file"))


@target(spoiled(b"sessionid=abcdefgh12345678abcdefgh12345678; csrftoken=x", b'sessionid="a\\"b"; sessionid=b'))
def cookies(header: bytes) -> None:
    """Whatever a Cookie header holds, nobody is logged in by it, and nothing fails."""
    migrate()
    for engine in (_DB, _SIGNED, _FILE):
        sessions = Sessions(engine, "sessionid", ("django.contrib.auth.backends.ModelBackend",))
        must(sessions.login_of(header.decode("latin-1")) is None, (engine, header))


@target(spoiled_text('["7","abc","abcdefghabcdefgh",1700000000]:sig', "WyI3Il0:" + "A" * 43, ".eJw:A"))
def tickets(text: str) -> None:
    """A ticket that nobody has signed is refused."""
    try:
        read_ticket(text)
    except BadTicket:
        return
    raise AssertionError(f"a ticket was made up: {text!r}")


# -- what comes from the broker, and from settings ---------------------------------------------------------------------


@target(spoiled(b'{"a":[1,2.5,"x",null,true]}', b'"\\u00e9"', b"[[[[1]]]]") | json_bytes(values))
def strict_json(raw: bytes) -> None:
    """JSON that is let through can be written again and sent."""
    try:
        value = strictjson.loads(raw, 8)
    except strictjson.NotJson:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


_BODIES = json_bytes(
    objects(
        "channel", "type", "data", "views", "only", "skip", "key", "version", "why", "what", "user", "process",
        right={"channel": "orders", "type": "lock", "data": {"order": 5}, "what": "identity"},
    )
) | spoiled(b'{"channel":"orders","type":"lock","data":{"order":5},"only":{"audiences":[],"users":["7"]}}')  # fmt: skip


@target(
    st.tuples(
        st.sampled_from(("event", "live", "resync", "void", "control", "marker", "x")) | st.none() | values,
        texts | st.none() | st.integers(),
        st.sampled_from(("1", "17", "0", "01", "-1", "9" * 30)) | texts | st.none(),
        st.none()
        | objects("v", "ts", "low", "sending", "sent", right={"v": 1, "ts": 1_700_000_000_000, "low": 1, "sending": 1}),
        _BODIES,
    )
)
def envelope(said: tuple[Any, Any, Any, Any, bytes]) -> None:
    """A message of the broker is one of ours, or malformed."""
    kind, app_id, message_id, headers, body = said
    with suppress(Malformed):
        decode(kind if isinstance(kind, str) else None, app_id, message_id, headers, body)


@target(
    st.tuples(
        values.map(lambda value: {"x": value}),
        st.none() | st.dictionaries(texts, st.none() | st.just({"a": 1}), max_size=3),
    )
)
def envelope_whole(said: tuple[dict[str, Any], dict[str, Any] | None]) -> None:
    """What Django writes the daemon reads."""
    data, views = said
    only, skip = Only(frozenset({"a"}), frozenset({"7"})), Skip("7", "t")
    event = Event("orders", "lock", data, views or {}, only, skip, "k", 5)
    try:
        body = encode_event(event)
    except (ValueError, TypeError):
        return
    must(len(body) <= BODY_BYTES, None)
    message = decode("live", None, None, headers_of(envelope_module.Kind.LIVE, 12, None), body)
    must(message.content == event, message)


@target(
    spoiled(
        bytes.fromhex("9000"),
        bytes.fromhex("2000056576656e74"),
        bytes.fromhex("20a0000000170176490000000102747354000000000000000c") + b"\x0211\x05event\x02p1",
    )
)
def amqp_properties(raw: bytes) -> None:
    """Properties of a message can be read, or are malformed."""
    with suppress(Malformed):
        read_properties(raw)


_DELIVERY = (
    b"\x01\x00\x01\x00\x00\x00\x17\x00\x3c\x00\x3c\x03ctg\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01x\x01k\xce"[:-1]
    + b"\xce"
)
_HEADER = b"\x02\x00\x01\x00\x00\x00\x0e\x00\x3c\x00\x00" + (3).to_bytes(8, "big") + b"\x00\x00\xce"
_BODY = b"\x03\x00\x01\x00\x00\x00\x03abc\xce"


@target(pieces(spoiled(_DELIVERY + _HEADER + _BODY, b"\x08\x00\x00\x00\x00\x00\x00\xce" * 3)))
def amqp_deliveries(chunks: list[bytes]) -> None:
    """The broker's bytes are deliveries and frames, however they are cut, or no AMQP."""
    told: list[list[Any]] = []
    for parts in (chunks, [b"".join(chunks)]):
        seen: list[Any] = []
        reader = DeliveryReader(seen.append, 1_000, 4_096)
        reader.listen(1, lambda *delivery, seen=seen: seen.append(delivery))
        try:
            for part in parts:
                reader.feed(part)
        except FrameError:
            seen.append(FrameError)
        told.append(seen)
    must(told[0] == told[1], told)


@target(spoiled_text("orders", "orders.5", "user.7", "user.~mzxw6"))
def names(text: str) -> None:
    """A channel's name fits into a routing key and means nothing to the broker, or is none."""
    try:
        name = check_channel(text)
    except (BadName, TypeError):
        return
    key = event_key(name, "lock")
    must(len(key.encode()) <= 255 and not {"*", "#", ""} & set(key.split(".")), key)
    ChannelPattern("orders.{order_id}").match(name)


@target(
    spoiled_text(
        "amqp://u:CANARY@host:5672/v", "amqps://u:CANARY@h/?cacertfile=/x", "embedded:5673", "http://u:CANARY@h/"
    )
)
def broker_address(text: str) -> None:
    """An address is read or refused, and neither what is said of it nor its repr has its password."""
    try:
        url = BrokerURL.parse(text, embedded_password="CANARY")
    except BadURL as error:
        must("CANARY" not in str(error), error)
        without_password(text)
        return
    shown = f"{url}{url!r}{url.safe}"
    must("CANARY" not in shown or "CANARY" in (url.user + url.vhost + url.host).upper(), shown)


# -- small things ------------------------------------------------------------------------------------------------------


def must(holds: object, what: object) -> None:
    """What a property demands, and what is shown where it does not hold."""
    if not holds:
        raise AssertionError(repr(what))


def has_placeholder(value: Any) -> bool:
    """Whether something looks like an attachment's place."""
    if isinstance(value, dict):
        return "_placeholder" in value or any(map(has_placeholder, value.values()))
    return isinstance(value, list) and any(map(has_placeholder, value))


def has_surrogate(value: Any) -> bool:
    """Whether it can't be sent."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return True
    return False

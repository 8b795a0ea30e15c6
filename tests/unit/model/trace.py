"""The world in words, one fact a line: a trace shows, action by action, which of them changed."""

from __future__ import annotations

from livepush.broker.backlog import Copy
from tests.unit.model.front import Message
from tests.unit.model.world import USERS, World


def facts(world: World) -> list[str]:
    """What is so now."""
    broker = world.broker
    rights = " ".join(f"{user}:{''.join(sorted(world.entitled(user)))}" for user in USERS)
    lines = [
        f"now={world.clock.seconds():.2f}",
        f"broker {'up' if broker.up else 'down'}{' alarm' if broker.alarm else ''}{'' if broker.bound else ' unbound'}",
        "log " + " ".join(f"{record.offset}:{_copy(record.copy)}" for record in broker.log),
        f"rights {rights}",
    ]
    for (channel, to), sent in broker.transit.items():
        lines.append(f"transit {channel.name}>{to} " + " ".join(_copy(each.copy) for each in sent))
    for sender in world.senders:
        lines.append(f"{sender.name} keeps {len(sender.carried)}{'' if sender.channel else ' no channel'}")
    for process in world.processes:
        queue = broker.queues.get(process.queue, ())
        lines += [
            f"{process.name} {process.nonce if process.alive else 'dead'} {process.phase}",
            f"{process.name} at {process.front.hub.history.position()} held={process.intake.ingest.held}",
            f"{process.name} queue " + " ".join(_copy(sent.copy) for sent in queue),
        ]
    for visitor in world.visitors:
        for seat in visitor.seats:
            name = f"{visitor.name}[{seat.front.hub.nonce}]"
            state = f"{seat.connection.state.name}{' suspended' if seat.connection.suspended else ''}"
            lines += [
                f"{name} {state} has={' '.join(sorted(seat.has))}",
                f"{name} wire " + " ".join(_message(message) for _, message in seat.wire),
            ]
        positions = " ".join(f"{channel}={at}" for channel, at in sorted(visitor.page.positions.items()))
        heard = " ".join(
            f"{channel}:{each.publisher}-{each.number}" if each.publisher else f"{channel}:reload"
            for channel, all_ in sorted(visitor.heard.items())
            for each in all_
        )
        lines += [f"{visitor.name} positions {positions}", f"{visitor.name} heard {heard}"]
    return lines


def difference(before: list[str], after: list[str]) -> str:
    """What an action changed."""
    new = [line for line in after if line not in set(before)]
    return " | ".join(new) or "gone: " + " | ".join(line for line in before if line not in set(after))


def _copy(copy: Copy) -> str:
    if copy.stamp is None:
        return "marker"
    what = copy.key.removesuffix(".tick").replace("control.identity", "control").removeprefix("event.")
    return f"{copy.stamp.id}({what} low {copy.stamp.low} sending {copy.stamp.sending})"


def _message(message: Message) -> str:
    detail = message.get("id") or message.get("why") or ""
    return f"{message['op']}:{message.get('channel', '')}:{detail}@{message.get('at', '')}"

"""The users of `broker/rabbitmq/definitions.json` on a private RabbitMQ, with a password for tests.

loaded = load_definitions(node)
self.addCleanup(loaded.remove)
pika.BlockingConnection(pika.URLParameters(loaded.url(DJANGO)))
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.servers.rabbitmq import PrivateRabbitMQ

FOLDER = Path(__file__).parents[2] / "broker" / "rabbitmq"
FILE = FOLDER / "definitions.json"
VHOST = "livepush"
DJANGO, DAEMON = "livepush-django", "livepush-daemon"
PASSWORD = "only of tests"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was imported into a node. Its virtual host is one only, so one test has it at a time."""

    node: PrivateRabbitMQ

    def url(self, user: str, password: str = PASSWORD) -> str:
        """The `amqp:` address of livepush's virtual host for one of its users."""
        return self.node.url(user=user, password=password, vhost=VHOST)

    def remove(self) -> None:
        """Takes the virtual host and its users away."""
        steps = [f'rabbit_vhost:delete(<<"{VHOST}">>, <<"tests">>)']
        steps += [f'rabbit_auth_backend_internal:delete_user(<<"{user}">>, <<"tests">>)' for user in (DJANGO, DAEMON)]
        self.node.ctl("eval", ", ".join([*steps, "ok."]))


def load_definitions(node: PrivateRabbitMQ) -> Loaded:
    """Imports the file and sets the passwords."""
    node.ctl("import_definitions", str(FILE))
    steps = (f'change_password(<<"{user}">>, <<"{PASSWORD}">>, <<"tests">>)' for user in (DJANGO, DAEMON))
    node.ctl("eval", ", ".join(f"rabbit_auth_backend_internal:{step}" for step in steps) + ".")
    return Loaded(node)

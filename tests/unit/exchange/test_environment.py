"""Tests of `exchange.environment`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from exchange.environment import BadVariable, Environment


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


class ReadTests(SynchronousTestCase):
    """The variables."""

    def test_defaults(self) -> None:
        """Without variables the demo is at 8000, with the embedded broker; empty ones count as none."""
        environment = Environment.read({"SITE_PORT": "", "BROKER": ""})
        self.assertEqual(environment, Environment())
        self.assertEqual(environment.ports, {"SITE_PORT": 8000, "PUSH_PORT": 8989, "AMQP_PORT": 5673})
        self.assertEqual(environment.broker_url, "embedded:5673")
        self.assertEqual((environment.free_lock_seconds, environment.demo_dir.name), (60, ".demo"))

    def test_children_read_the_same(self) -> None:
        """What the runner hands to its children is what it read itself."""
        for broker in ("embedded:", "embedded:7", "amqp://u:p@h/"):
            variables = {"SITE_PORT": "1", "PUSH_PORT": "2", "AMQP_PORT": "3", "BROKER": broker, "DEMO_DIR": "/x"}
            environment = Environment.read({**variables, "ORDERS_FREE_LOCK_TIME": "0"})
            self.assertEqual(Environment.read(environment.variables), environment)

    def test_broker(self) -> None:
        """The embedded broker's port stands in BROKER or AMQP_PORT; a RabbitMQ's URL is kept, and its port is free."""
        self.assertEqual(Environment.read({"BROKER": "embedded:7000"}).broker_url, "embedded:7000")
        self.assertEqual(Environment.read({"AMQP_PORT": "7000"}).broker_url, "embedded:7000")
        rabbit = Environment.read({"BROKER": "amqp://u:p@rabbit/v", "AMQP_PORT": "8000"})
        self.assertEqual(rabbit.broker_url, "amqp://u:p@rabbit/v")
        self.assertNotIn("AMQP_PORT", rabbit.ports)

    def test_bad(self) -> None:
        """A value that can't be is refused in one line that names the variable and the remedy."""
        for name, value, remedy in (
            ("SITE_PORT", "web", "from 1 to 65535"),
            ("PUSH_PORT", "0", "from 1 to 65535"),
            ("AMQP_PORT", "65536", "from 1 to 65535"),
            ("SITE_PORT", "-1", "from 1 to 65535"),
            ("SITE_PORT", "8_000", "from 1 to 65535"),
            ("SITE_PORT", "٨٠٠٠", "from 1 to 65535"),
            ("SITE_PORT", "9" * 5000, "from 1 to 65535"),
            ("BROKER", "embedded:x", "from 1 to 65535"),
            ("PUSH_URL", "https://push.example.com/", "wss://push.example.com/livepush/ws"),
            ("PUSH_URL", "wss://x; script-src *", "wss://push.example.com/livepush/ws"),
            ("BROKER", "redis://x", "amqp://user:password@host"),
            ("ORDERS_FREE_LOCK_TIME", "1.5", "from 0 to"),
            ("ORDERS_FREE_LOCK_TIME", "-5", "from 0 to"),
        ):
            with self.assertRaises(BadVariable) as bad:
                Environment.read({name: value})
            text = str(bad.exception)
            self.assertTrue(text.startswith(name), text)
            self.assertIn(remedy, text)
            self.assertEqual(len(text.splitlines()), 1)

    def test_push_url(self) -> None:
        """Where browsers find the daemon; they may connect there and nowhere else."""
        url = "wss://push.example.com:444/livepush/ws"
        environment = Environment.read({"PUSH_URL": url})
        self.assertEqual(environment.push_sources, ["wss://push.example.com:444", "https://push.example.com:444"])
        self.assertEqual(Environment.read(environment.variables), environment)
        self.assertEqual(Environment().push_sources, [])

    def test_same_port(self) -> None:
        """Two that want the same port are named both."""
        with self.assertRaises(BadVariable) as bad:
            Environment.read({"SITE_PORT": "8989"})
        self.assertIn("SITE_PORT and PUSH_PORT are both 8989", str(bad.exception))

    def test_password_not_told(self) -> None:
        """A mistake in a URL with a password does not put the password on the screen."""
        with self.assertRaises(BadVariable) as bad:
            Environment.read({"BROKER": "ampq://user:secret@host/"})
        self.assertNotIn("secret", str(bad.exception))


class FolderTests(SynchronousTestCase):
    """DEMO_DIR."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.environment = Environment(demo_dir=self.path)

    def test_modes(self) -> None:
        """Folder and files are this user's only, also in a folder that was there before."""
        self.path.mkdir(mode=0o755)
        self.environment.prepare()
        self.environment.secret_key()
        self.assertEqual(mode(self.path), 0o700)
        self.assertEqual({mode(path) for path in self.path.iterdir()}, {0o600})

    def test_key_stays(self) -> None:
        """The secret key is long, generated once, and another one elsewhere."""
        key = self.environment.secret_key()
        self.assertTrue(len(key) >= 50 and len(set(key)) > 20)
        self.assertEqual(self.environment.secret_key(), key)
        self.assertNotEqual(Environment(demo_dir=Path(self.mktemp()).absolute()).secret_key(), key)

    def test_one_key(self) -> None:
        """Processes that start together get the same key."""
        for _ in range(20):
            environment = Environment(demo_dir=Path(self.mktemp()).absolute())
            gate, opener = os.pipe()
            children = []
            for _ in range(6):
                read, write = os.pipe()
                if not (pid := os.fork()):
                    try:
                        os.close(opener)
                        os.read(gate, 1)  # all go on when the parent closes it
                        os.write(write, environment.secret_key().encode())
                    except BaseException as error:
                        os.write(write, repr(error).encode())
                    finally:
                        os._exit(0)
                os.close(write)
                children.append((pid, read))
            os.close(opener)
            os.close(gate)
            keys = set()
            for pid, read in children:
                keys.add(os.read(read, 1000))
                os.close(read)
                os.waitpid(pid, 0)
            self.assertEqual(len(keys), 1, keys)
            self.assertTrue(len(keys.pop()) >= 50)

    def test_foreign_folder(self) -> None:
        """A folder that holds other things is neither used nor removed."""
        self.path.mkdir()
        (self.path / "thesis.txt").write_text("years of work")
        for attempt in (self.environment.prepare, self.environment.remove):
            with self.assertRaises(BadVariable) as bad:
                attempt()
            self.assertIn("DEMO_DIR", str(bad.exception))
        self.assertTrue((self.path / "thesis.txt").exists())

    def test_remove(self) -> None:
        """What the demo made goes; nothing there is no error."""
        self.assertFalse(self.environment.remove())
        self.environment.secret_key()
        self.assertTrue(self.environment.remove())
        self.assertFalse(self.path.exists())

    def test_unusable(self) -> None:
        """A folder that can't be made is one line."""
        file = Path(self.mktemp()).absolute()
        file.write_text("")
        with self.assertRaises(BadVariable):
            Environment(demo_dir=file / "x").prepare()
        with self.assertRaises(BadVariable):
            Environment(demo_dir=file).prepare()

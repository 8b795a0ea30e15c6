"""What a server must give to the publisher's thread."""

from __future__ import annotations

from types import SimpleNamespace

from django.core.checks import run_checks
from twisted.trial.unittest import SynchronousTestCase

from livepush.django.checks import TAG, check_server
from livepush.django.server import uwsgi_fault

OLD, NEW = (2, 0, 26, 0, b""), (2, 0, 27, 0, b"")


def make_uwsgi(*options: str, version: tuple[object, ...] = OLD) -> SimpleNamespace:
    """The module that uWSGI puts into its processes."""
    return SimpleNamespace(opt={"master": True, **dict.fromkeys(options, True)}, version_info=version)


class UwsgiTests(SynchronousTestCase):
    def test_without_threads(self) -> None:
        """The fault names the option that is missing, and is a warning of the system checks."""
        fault = uwsgi_fault(make_uwsgi())
        assert fault is not None
        self.assertIn("--enable-threads", fault.remedy)
        (message,) = check_server(make_uwsgi())
        self.assertEqual((message.id, message.hint), ("livepush.W003", fault.remedy))

    def test_with_threads(self) -> None:
        """Either option lets the thread run."""
        for option in ("enable-threads", "threads"):
            self.assertIsNone(uwsgi_fault(make_uwsgi(option)))

    def test_bytes(self) -> None:
        """Some versions name their options in bytes."""
        self.assertIsNone(uwsgi_fault(SimpleNamespace(opt={b"enable-threads": True}, version_info=OLD)))
        self.assertIsNotNone(uwsgi_fault(SimpleNamespace(opt={b"master": True}, version_info=OLD)))

    def test_newer(self) -> None:
        """Threads need no option any more."""
        self.assertIsNone(uwsgi_fault(make_uwsgi(version=NEW)))

    def test_other_servers(self) -> None:
        """Where there is no uWSGI there is nothing to say, also among the checks that Django runs."""
        self.assertIsNone(uwsgi_fault())
        self.assertEqual([each.id for each in run_checks(tags=[TAG]) if each.id == "livepush.W003"], [])

"""Secrets by environment, file and systemd credential."""

from __future__ import annotations

import os
from pathlib import Path

from django.test import override_settings
from twisted.trial.unittest import SynchronousTestCase

from livepush.django.conf import ABSENT, BadSetting, faults, given_value
from livepush.django.credentials import FOLDER, MAX_BYTES, BadCredential, credential

NAME = "LIVEPUSH_BROKER_URL"
SECRET = "amqp://u:canary-of-a-password@h/v"


class CredentialTests(SynchronousTestCase):
    """Where a secret is looked for."""

    def file(self, content: bytes) -> str:
        """A file with this content."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def folder(self, **files: bytes) -> str:
        """What systemd makes of a unit's credentials."""
        path = Path(self.mktemp())
        path.mkdir()
        for name, content in files.items():
            (path / name).write_bytes(content)
        return str(path)

    def refused(self, environ: dict[str, str]) -> str:
        """The text of the refusal."""
        return str(self.assertRaises(BadCredential, credential, NAME, environ))

    def test_the_first_that_is_there(self) -> None:
        """The environment's value goes before its file, a file before a credential; none of them is no fault."""
        named = self.file(b"from the file\n")
        folder = self.folder(LIVEPUSH_BROKER_URL=b" from the credential\r\n")
        self.assertEqual(credential(NAME, {NAME: "as it is", FOLDER: folder}), "as it is")
        self.assertEqual(credential(NAME, {f"{NAME}_FILE": named, FOLDER: folder, NAME: ""}), "from the file")
        self.assertEqual(credential(NAME, {FOLDER: folder}), "from the credential")
        for environ in ({}, {NAME: ""}, {f"{NAME}_FILE": ""}, {FOLDER: self.folder()}, {FOLDER: "/nowhere"}):
            self.assertIsNone(credential(NAME, environ), environ)

    def test_a_file_that_is_not_there(self) -> None:
        """A secret that was promised and is missing is no reason to go on with a default."""
        text = self.refused({f"{NAME}_FILE": "/nowhere/at/all"})
        for part in (f"{NAME}_FILE", "/nowhere/at/all", "No such file"):
            self.assertIn(part, text)

    def test_what_is_no_secret(self) -> None:
        """An empty file, a binary one and a huge one are refused, and nothing of them is repeated."""
        for content in (b"", b" \n", b"s3cret\xff\xfe", b"s3cret" * MAX_BYTES):
            path = self.file(content)
            text = self.refused({f"{NAME}_FILE": path})
            self.assertIn(path, text)
            self.assertNotIn("s3cret", text)
            self.assertIn("the credential", self.refused({FOLDER: self.folder(LIVEPUSH_BROKER_URL=content)}))
        self.assertIn("can't be read", self.refused({f"{NAME}_FILE": os.fspath(self.folder())}))

    def test_twice(self) -> None:
        """Which of two is meant nobody can know."""
        text = self.refused({NAME: SECRET, f"{NAME}_FILE": self.file(SECRET.encode())})
        self.assertIn(f"{NAME}_FILE", text)
        self.assertNotIn("canary", text)


class ConfTests(SynchronousTestCase):
    """The settings that may come so."""

    def test_every_secret_setting(self) -> None:
        """Each secret setting goes before Django's, however it comes; a setting that is none comes from Django only."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "LIVEPUSH_STATUS_TOKEN").write_text("a-token-of-a-credential")
        (folder / "LIVEPUSH_PORT").write_text("1234")
        environ = {NAME: SECRET, "LIVEPUSH_PORT": "1234", FOLDER: str(folder)}
        with override_settings(LIVEPUSH_BROKER_URL="embedded:", LIVEPUSH_STATUS_TOKEN="of the settings"):
            self.assertEqual(faults(environ), [])
            self.assertEqual(given_value("broker_url", environ), SECRET)
            self.assertEqual(given_value("status_token", environ), "a-token-of-a-credential")
            self.assertEqual(given_value("status_token", {}), "of the settings")
        self.assertIs(given_value("port", environ), ABSENT)

    def test_a_fault(self) -> None:
        """A file that can't be used is a fault of its setting, beside the others; its value is in no message."""
        path = Path(self.mktemp())
        path.write_text("http://u:canary-of-a-password@h")
        environ = {f"{NAME}_FILE": str(path), "LIVEPUSH_STATUS_TOKEN_FILE": "/nowhere"}
        found = faults(environ)
        self.assertEqual({fault.setting for fault in found}, {NAME, "LIVEPUSH_STATUS_TOKEN"})
        self.assertTrue(all(isinstance(fault, BadSetting) for fault in found))
        self.assertNotIn("canary", " ".join(map(str, found)))

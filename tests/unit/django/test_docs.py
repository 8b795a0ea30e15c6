"""The reference pages and the code say the same."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from livepush.django import checks, conf
from livepush.django.publication import publish

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


class ChecksPageTests(SynchronousTestCase):
    def test_ids(self) -> None:
        """Every check id has a heading, in order, and every heading is an id of a check."""
        source = inspect.getsource(checks)
        used = {f"livepush.{number}" for number in re.findall(r'"([EW]\d{3})"', source)}
        used |= {f"livepush.{number}" for number in re.findall(r'\{TAG\}\.([EW]\d{3})"', source)}
        headings = re.findall(r"^## (livepush\.[EW]\d{3})$", page("checks.md"), re.MULTILINE)
        self.assertEqual(headings, sorted(used))
        self.assertEqual(len(used), 19)


class SettingsPageTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Every setting has a row with its default, in the order of the code; there is no row of another."""
        rows = re.findall(
            r"^\| `(LIVEPUSH_\w+)` \| ([^|]+) \| `([^|]+)` \| ([^|]+) \|$", page("settings.md"), re.MULTILINE
        )
        self.assertEqual([name for name, *_ in rows], conf.names())
        defaults = conf.Conf()
        for name, _, default, meaning in rows:
            field = name.removeprefix(conf.PREFIX).lower()
            self.assertEqual(ast.literal_eval(default), getattr(defaults, field), name)
            self.assertTrue(meaning.strip().endswith("."), name)

    def test_secrets(self) -> None:
        """The settings that may come by environment, file or credential are those that are told to."""
        told = page("settings.md").split("## Secrets\n")[1].split(" need not stand")[0]
        secret = [conf.name_of(each.name) for each in fields(conf.Conf) if each.metadata.get("secret")]
        self.assertEqual(sorted(re.findall(r"LIVEPUSH_\w+", told)), sorted(secret))

    def test_bounds(self) -> None:
        """The bounds in the table are those that are checked."""
        rows = re.findall(r"^\| `(LIVEPUSH_\w+)` \| int, ([^|]+) \|", page("settings.md"), re.MULTILINE)
        self.assertTrue(len(rows) > 10)
        for name, text in rows:
            field = name.removeprefix(conf.PREFIX).lower()
            bounds: list[Any] = [
                int(number) * (2**20 if unit else 1) for number, unit in re.findall(r"(\d+)( MiB)?", text)
            ]
            for value in bounds:
                conf.Conf(**{field: value})
            self.assertRaises(conf.BadSetting, conf.Conf, **{field: bounds[0] - 1})
            if "to" in text:
                self.assertRaises(conf.BadSetting, conf.Conf, **{field: bounds[1] + 1})


class PublishingPageTests(SynchronousTestCase):
    def test_signature(self) -> None:
        """The signature that the page shows is that of `publish`, with its defaults."""
        (shown,) = re.findall(r"^publish\(([^)]*)\) -> Publication$", page("publishing.md"), re.MULTILINE)
        parameters = inspect.signature(publish).parameters.values()
        code = [name.name if name.default is name.empty else f"{name.name}={name.default}" for name in parameters]
        self.assertEqual([word for word in re.split(r",\s*", shown) if word != "*"], code)

    def test_arguments(self) -> None:
        """Every argument of `publish` has a row, and no row is of another."""
        table = page("publishing.md").split("## publish\n")[1].split("### ")[0]
        rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
        self.assertEqual(rows, list(inspect.signature(publish).parameters))

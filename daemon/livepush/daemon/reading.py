"""The site's settings as a daemon compares them, and the process that reads them for it.

    python -m livepush.daemon.reading FOLDER [SETTINGS]

A settings module is code that was imported once; its files are only read anew by a new interpreter. So at SIGHUP a
process of its own sets Django up and checks everything as the daemon's start does, beside the daemon, which goes on
meanwhile, and is not touched by a file that is broken. It writes one line of JSON, or ends with status 1 and one line
that says what is wrong.

Secrets do not stand in that line, but what they are with a key that both processes know: enough to see a change.
"""

from __future__ import annotations

import hmac
import json
import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livepush.daemon.identity import Site

ORIGINS = ("allowed", "trusted", "hosts", "https_only", "development")
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read.

    Attributes:
        settings: by their names; a secret's is not its value.
        origins: the fields of `OriginSettings`.
    """

    settings: dict[str, Any]
    origins: dict[str, Any]

    @classmethod
    def of(cls, site: Site, key: bytes) -> Reading:
        """Of a site that was looked at; values as JSON has them."""
        found = {}
        for field in fields(site.conf):
            if "check" not in field.metadata:
                continue
            value = getattr(site.conf, field.name)
            if field.metadata["secret"] and value is not None:
                value = hmac.digest(key, str(value).encode(), "sha256").hex()
            found[f"LIVEPUSH_{field.name.upper()}"] = value
        return cls.parse(json.dumps([found, {name: getattr(site.origins, name) for name in ORIGINS}]))

    @classmethod
    def parse(cls, text: str | bytes) -> Reading:
        """Raises: ValueError: it is no reading."""
        settings, origins = json.loads(text)
        if not isinstance(settings, dict) or not isinstance(origins, dict) or set(origins) != set(ORIGINS):
            raise ValueError("no reading")
        return cls(settings, origins)

    def dumps(self) -> str:
        """One line."""
        return json.dumps([self.settings, self.origins])


def main(folder: str, settings: str | None, key: bytes) -> str:
    """What stands in the settings now.

    Raises:
        SystemExit: they can't be used; with what is wrong, in one line.
    """
    from livepush.daemon import identity  # Django is imported when it is needed

    try:
        return Reading.of(identity.load(settings, folder), key).dumps()
    except Exception as error:
        # The site's own code; whatever it raises is told, and the daemon goes on with what it has.
        named = type(error).__name__
        text = str(error) if named == "ImproperlyConfigured" else f"{named}: {error}"
        raise SystemExit("; ".join(text.splitlines())) from None


if __name__ == "__main__":
    found = main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None, sys.stdin.buffer.read(KEY_BYTES))
    sys.stdout.write(found + "\n")

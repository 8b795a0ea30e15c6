"""Secrets that stand in no settings module: where a process finds the value of a secret setting outside of Django.

For a setting such as `LIVEPUSH_BROKER_URL`, the first of these that is there:

    environment LIVEPUSH_BROKER_URL                 the value; empty: not there
    environment LIVEPUSH_BROKER_URL_FILE            the path of a file that holds it, as containers mount secrets
    file LIVEPUSH_BROKER_URL in the folder          a systemd credential, called as the setting:
    CREDENTIALS_DIRECTORY of the environment        LoadCredential=LIVEPUSH_BROKER_URL:/etc/livepush/broker-url

A file's value is its text without the white space around it. The process list shows command lines to every user of a
machine and the environment to the process's own user; a credential is in neither, so it is the best of the three.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FOLDER = "CREDENTIALS_DIRECTORY"
"""The variable in which systemd names the folder of a unit's credentials (systemd.exec(5))."""

MAX_BYTES = 65_536


class BadCredential(ValueError):
    """A file that was named as a secret's can't be used; the text names it and the remedy, and nothing of what it
    holds."""


def credential(name: str, environ: Mapping[str, str]) -> str | None:
    """The value of a secret setting; None: it is given in none of these ways.

    Args:
        name: of the setting.
        environ: the process's environment.

    Raises:
        BadCredential: a file is named and can't be read, is empty or is no secret; or the secret is given twice over.
    """
    value, file = environ.get(name), environ.get(f"{name}_FILE")
    if value and file:
        raise BadCredential(f"{name} and {name}_FILE are both in the environment; take one of them away")
    if value:
        return value
    if file:
        return _read(Path(file), f"{name}_FILE")
    folder = environ.get(FOLDER)
    if folder and (path := Path(folder, name)).exists():
        return _read(path, f"the credential {name}")
    return None


def _read(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode().strip()
    except OSError as error:
        raise BadCredential(f"{what} {path} can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadCredential(f"{what} {path} is no text in UTF-8") from None
    if not text or len(raw) > MAX_BYTES:
        why = "is empty" if not text else f"has more than {MAX_BYTES} bytes"
        raise BadCredential(f"{what} {path} {why}; it must hold the secret and nothing else")
    return text

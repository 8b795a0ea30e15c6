"""Prints who is on the channel that has presence, as Django's own code is told: JSON, null where nobody knows.

python -m soaked.present
"""

from __future__ import annotations

import json

import django


def main() -> None:
    """Asks once."""
    from livepush.django import presence
    from livepush.django.errors import PresenceUnavailable

    try:
        print(json.dumps(sorted(str(key) for key in presence("news"))))
    except PresenceUnavailable:
        print("null")


if __name__ == "__main__":
    django.setup()
    main()

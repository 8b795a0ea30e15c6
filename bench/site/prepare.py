"""Makes the database, a user and a session for each connection, and a file of their cookies for wsload.

python -m bench.site.prepare 5000
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import django


def prepare(count: int, folder: Path) -> None:
    """Writes `bench.sqlite3` and `cookies` into the folder."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.site.settings"
    django.setup()

    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.core.management import call_command
    from django.utils import timezone
    from django.utils.crypto import get_random_string

    call_command("migrate", verbosity=0)
    User.objects.bulk_create(User(username=f"user{number}", password="!unusable") for number in range(count))
    encode = SessionStore().encode
    ends = timezone.now() + timedelta(days=1)
    sessions = [
        Session(
            session_key=get_random_string(32, "abcdefghijklmnopqrstuvwxyz0123456789"),
            session_data=encode(
                {
                    SESSION_KEY: str(user.pk),
                    BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
                    HASH_SESSION_KEY: user.get_session_auth_hash(),
                }
            ),
            expire_date=ends,
        )
        for user in User.objects.all()
    ]
    Session.objects.bulk_create(sessions)
    (folder / "cookies").write_text("".join(f"Cookie: sessionid={session.session_key}\n" for session in sessions))


if __name__ == "__main__":
    prepare(int(sys.argv[1]), Path(os.environ["BENCH_FOLDER"]))

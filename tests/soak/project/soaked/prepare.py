"""Makes the tables, the users and a session for each client; prints the clients as JSON.

python -m soaked.prepare COUNT
"""

from __future__ import annotations

import json
import sys

import django

FEWEST = 10
TABS = 6


def main(count: int) -> None:
    """Moderators, clients, and users who may hear the news only; several tabs each."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import Permission, User
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command

    from .events import ROOMS

    call_command("migrate", verbosity=0, interactive=False)
    permissions = {each.codename: each for each in Permission.objects.filter(content_type__model="group")}
    found = []
    users = max(FEWEST, count // TABS)
    for number in range(users):
        user = User.objects.create_user(f"user{number}")
        role = ("moderator", "client", "client", "reader")[number % 4]
        wanted = {"moderator": ["delete_group", "view_group"], "client": ["view_group"], "reader": []}[role]
        user.user_permissions.set(permissions[each] for each in wanted)
        session = SessionStore()
        session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        found.append((str(user.pk), role, f"{settings.SESSION_COOKIE_NAME}={session.session_key}"))
    clients = []
    for number in range(count):
        pk, role, cookie = found[number % users]
        rooms = [f"rooms.{number % ROOMS}", f"rooms.{(number + 1) % ROOMS}"][: number % 3]
        clients.append(
            {
                "tab": f"tab{number}",
                "user": pk,
                "role": role,
                "cookie": cookie,
                "rooms": rooms,
                "moves": number // users % 2 == 0,
            }
        )
    print(json.dumps(clients))


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]))

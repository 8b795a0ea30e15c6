"""The site as a process that is told, a line each, what to do, and answers with a line: Python, and JSON of its value.

Its commits, signals and publications are real, and so are the requests of `browser`, which go through Django's handler.
"""

from __future__ import annotations

import ast
import json
import sys
import traceback
from typing import Any

import django


def main() -> None:
    """Answers until its input ends."""
    from django.contrib.auth import get_user_model, models
    from django.contrib.sessions.models import Session
    from django.core.management import call_command
    from django.db import transaction
    from django.test import Client

    import livepush.django

    call_command("migrate", verbosity=0, interactive=False)
    names: dict[str, Any] = {
        "browser": lambda: Client(SERVER_NAME="127.0.0.1"),
        "Group": models.Group,
        "livepush": livepush.django,
        "Permission": models.Permission,
        "publish": livepush.django.publish,
        "Session": Session,
        "transaction": transaction,
        "User": get_user_model(),
    }
    for line in sys.stdin:
        try:
            answer = {"value": perform(json.loads(line), names)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer, default=str), flush=True)


def perform(text: str, names: dict[str, Any]) -> Any:
    """The value of the last line, if it is an expression."""
    tree = ast.parse(text)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<told>", "exec"), names)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "<told>", "eval"), names)


if __name__ == "__main__":
    django.setup()
    main()

"""System checks: what is wrong with the declarations and the settings, each with its remedy.

Ids are stable; `docs/reference/checks.md` has a heading for each, and a test compares the two.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.core import checks
from django.db import DEFAULT_DB_ALIAS

from livepush.broker.errors import BadName
from livepush.broker.names import WORD, ChannelPattern
from livepush.django import conf
from livepush.django.channels import Audience, Channel, Registry, declared, is_guarded, pattern_of, takes_calls
from livepush.django.server import uwsgi_fault
from livepush.django.sessions import session_fault

TAG = "livepush"
RESERVED_AUDIENCE = "self"
"""The audience of every user's own channel."""

_WORD = re.compile(WORD, re.ASCII)
_PERMISSION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.[^.\s]+")
_ALLOWS = "def allows(self, user, **args): with the placeholders of the name, or **args, as arguments"
_RECEIVE = "def receive(self, user, type, data, **args): with the placeholders of the name, or **args, as arguments"

Messages = Iterator[checks.CheckMessage]


def register() -> None:
    """Registers them with Django; the commands and the daemon run them at start."""
    checks.register(check_declarations, TAG)
    checks.register(check_settings, TAG)
    checks.register(check_server, TAG)
    checks.register(check_sessions, TAG)
    checks.register(check_outbox, TAG, checks.Tags.database)


def check_declarations(registry: Registry = declared, **_: Any) -> list[checks.CheckMessage]:
    """Finds the faults of all declared channels."""
    found: list[checks.CheckMessage] = []
    seen: dict[str, type[Channel]] = {}
    for declaration in registry.declarations:
        for check in (_pattern, _audiences, _auto, _allows, _receive, _presence):
            found.extend(check(declaration))
        pattern = pattern_of(declaration)
        if pattern is None:
            continue
        first = seen.setdefault(pattern.text, declaration)
        if first is not declaration:
            what = f"The channel {pattern.text!r} is declared twice, here and in {_place(first)}; the first one counts."
            found.append(_error("E002", what, "Give one of them another name, or remove it.", declaration))
    return found


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Finds settings that can't be used, and names that are no settings."""
    found: list[checks.CheckMessage] = []
    found.extend(
        checks.Error(f"{fault.setting} can't be used.", hint=str(fault), id=f"{TAG}.E010") for fault in conf.faults()
    )
    fault = None if found else conf.conf().log_fault
    if fault is not None:
        text = f"{fault.setting} is too short: a daemon that starts would miss events that it should know."
        hint = f"It {fault.why}. A log that is there keeps its own; docs/how-to/rabbitmq.md says how it is changed."
        found.append(checks.Error(text, hint=hint, id=f"{TAG}.E011"))
    for name in conf.unknown():
        hint = f"Remove it or correct its name; there are: {', '.join(conf.names())}."
        found.append(checks.Warning(f"{name} is no setting of livepush and does nothing.", hint=hint, id=f"{TAG}.W001"))
    return found


def check_server(uwsgi: object = None, **_: Any) -> list[checks.CheckMessage]:
    """Finds a server in which nothing can be published."""
    fault = uwsgi_fault(uwsgi)
    return [] if fault is None else [checks.Warning(fault.what, hint=fault.remedy, id=f"{TAG}.W003")]


def check_sessions(**_: Any) -> list[checks.CheckMessage]:
    """Finds ways of keeping sessions that the daemon can't see, or can't see the end of."""
    fault = session_fault(*conf.sessions())
    if fault is None:
        return []
    if fault.hidden:
        return [checks.Warning(fault.what, hint=fault.remedy, id=f"{TAG}.W006")]
    return [checks.Warning(fault.what, hint=fault.remedy, id=f"{TAG}.W005")]


def check_outbox(databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """Finds outboxes that are copies of another database's. Django asks where it checks databases, as in `migrate`."""
    from livepush.django.outbox import Outbox  # models, which this module is imported before

    found: list[checks.CheckMessage] = []
    for outbox in map(Outbox, databases or ()):
        bears = outbox.bears()
        if bears is not None and bears != outbox.database:
            option = "" if outbox.alias == DEFAULT_DB_ALIAS else f" --database {outbox.alias}"
            text = f"The outbox of the database {outbox.alias!r} bears the name of another one, {bears!r}."
            hint = (
                "Its relay will not start. If this is a copy, or was renamed, run "
                f"`manage.py livepush relay --new-identity{option}`, after migrate."
            )
            found.append(checks.Warning(text, hint=hint, id=f"{TAG}.W004"))
    return found


def _pattern(declaration: type[Channel]) -> Messages:
    try:
        ChannelPattern(declaration.name)
    except BadName as error:
        hint = "Use words of A-Z a-z 0-9 _ - joined by dots; a word may be a placeholder such as {order_id}."
        yield _error("E001", f"The name of the channel can't be used: {error}.", hint, declaration)


def _audiences(declaration: type[Channel]) -> Messages:
    given: Any = declaration.audiences
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        hint = 'Write audiences = [Audience("client", perm="orders.view_order")], without perm for any logged-in user.'
        yield _error("E003", "The channel has no audiences, so nobody may listen to it.", hint, declaration)
        return
    names: set[str] = set()
    for each in given:
        if not isinstance(each, Audience):
            hint = 'Write Audience("client", perm="orders.view_order").'
            yield _error("E004", f"{each!r} in audiences is not an Audience.", hint, declaration)
            continue
        if not isinstance(each.name, str) or not _WORD.fullmatch(each.name) or each.name == RESERVED_AUDIENCE:
            hint = f"Use a word of A-Z a-z 0-9 _ -, other than {RESERVED_AUDIENCE!r} (the user's own channel has that)."
            yield _error("E005", f"The audience name {each.name!r} can't be used.", hint, declaration)
        elif each.name in names:
            hint = "Give each audience a name of its own; two permissions for one view need two audiences."
            yield _error("E006", f"The audience {each.name!r} is declared twice.", hint, declaration)
        else:
            names.add(each.name)
        yield from _permission(each.perm, f"of the audience {each.name!r}", declaration)


def _presence(declaration: type[Channel]) -> Messages:
    if not isinstance(declaration.presence, bool):
        hint = 'Write presence = True; who may see it is presence_perm = "orders.view_order".'
        yield _error("E013", f"presence is {declaration.presence!r}, neither True nor False.", hint, declaration)
    yield from _permission(declaration.presence_perm, "of presence", declaration)


def _permission(perm: str | None, where: str, declaration: type[Channel]) -> Messages:
    if perm is None:
        return
    what = f"The permission {perm!r} {where}"
    if not isinstance(perm, str) or not _PERMISSION.fullmatch(perm):
        hint = 'Write it as app_label.codename, such as "orders.view_order"; leave it out for any logged-in user.'
        yield _error("E007", f"{what} is not of the form app_label.codename.", hint, declaration)
    elif perm not in _declared_permissions():
        hint = (
            "Correct it or add it to the model's Meta.permissions. Silence this warning if a migration creates it, or "
            "an authentication backend of yours grants it."
        )
        text = f"{what} is declared by no installed model; nobody but superusers may hold it."
        yield checks.Warning(text, hint=hint, obj=_Place(declaration), id=f"{TAG}.W002")


def _auto(declaration: type[Channel]) -> Messages:
    pattern = pattern_of(declaration)
    if declaration.auto and pattern is not None and not pattern.plain:
        hint = "Remove auto: a page subscribes to livepush.on(channel, ...) by the channel's full name."
        yield _error("E008", "auto is set on a pattern, which names no channel to begin with.", hint, declaration)


def _allows(declaration: type[Channel]) -> Messages:
    pattern = pattern_of(declaration)
    if pattern is None or not is_guarded(declaration):
        return
    rule: Callable[..., object] = declaration().allows
    if inspect.iscoroutinefunction(rule) or inspect.isasyncgenfunction(rule):
        yield _error("E009", "allows() is async, so its answer would always count as a no.", _ALLOWS, declaration)
        return
    try:
        inspect.signature(rule).bind(object(), **dict.fromkeys(pattern.arguments, ""))
    except TypeError as error:
        text = f"allows() can't be called with (user{''.join(f', {name}=...' for name in pattern.arguments)}): {error}."
        yield _error("E009", text, _ALLOWS, declaration)


def _receive(declaration: type[Channel]) -> Messages:
    pattern = pattern_of(declaration)
    if pattern is None or not takes_calls(declaration):
        return
    method: Callable[..., object] = declaration().receive
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        yield _error("E012", "receive() is async, and threads call it.", _RECEIVE, declaration)
        return
    try:
        inspect.signature(method).bind(object(), "", {}, **dict.fromkeys(pattern.arguments, ""))
    except TypeError as error:
        names = "".join(f", {name}=..." for name in pattern.arguments)
        text = f"receive() can't be called with (user, type, data{names}): {error}."
        yield _error("E012", text, _RECEIVE, declaration)


def _declared_permissions() -> set[str]:
    """What `migrate` creates for the installed models."""
    found: set[str] = set()
    for options in (model._meta for model in apps.get_models()):
        codenames = [get_permission_codename(action, options) for action in options.default_permissions]
        codenames.extend(codename for codename, _ in options.permissions)
        found.update(f"{options.app_label}.{codename}" for codename in codenames)
    return found


class _Place:
    """What a message is about, as Django shows it: module and class."""

    def __init__(self, declaration: type[Channel]) -> None:
        self.declaration = declaration

    def __str__(self) -> str:
        return _place(self.declaration)

    def __repr__(self) -> str:
        return str(self)


def _place(declaration: type[Channel]) -> str:
    return f"{declaration.__module__}.{declaration.__qualname__}"


def _error(number: str, text: str, hint: str, declaration: type[Channel]) -> checks.Error:
    return checks.Error(text, hint=hint, obj=_Place(declaration), id=f"{TAG}.{number}")

"""A page's request to a channel: `Channel.receive`, called, and its answer made plain JSON.

    declaration         found by the channel's name, with the words of its placeholders
    instance            one a call, which knows its `caller`
    receive             the site's code, in a context of its own: a language or time zone it activates stays there
    answer              a dict, by the rules of what `publish` takes, 256 KiB at most

Who may call is decided before, in the daemon.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from contextvars import Context
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from livepush.broker import payload
from livepush.broker.envelope import BODY_BYTES, Json
from livepush.broker.errors import BadPayload
from livepush.django.actor import Caller
from livepush.django.channels import Registry, pattern_of, takes_calls
from livepush.django.errors import CallRefused

_default = DjangoJSONEncoder().default
_encoder = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_default)


def call(registry: Registry, caller: Caller, type: str, data: Mapping[str, Any]) -> Json:  # noqa: A002
    """Calls the `receive` of the channel's declaration. Blocking; any thread.

    Args:
        registry: where it is declared.
        caller: who calls, and which channel.
        type: what is asked for.
        data: as the browser sent it.

    Returns:
        The answer, plain JSON.

    Raises:
        CallRefused: by the site; or, with the code `not_found`, there is nothing that could be called.
        BadPayload: the answer can't be sent.
        TypeError: it is no answer at all.
        Exception: whatever the site's code raises.
    """
    declaration = registry.find(caller.channel)
    pattern = None if declaration is None else pattern_of(declaration)
    args = None if pattern is None else pattern.match(caller.channel)
    if declaration is None or args is None or not takes_calls(declaration):
        raise CallRefused("this channel takes no calls", "not_found")
    channel = declaration()
    channel.caller = caller
    answer: object = Context().run(channel.receive, caller.user, type, dict(data), **args)
    if inspect.iscoroutine(answer):
        answer.close()
        raise TypeError(f"{declaration.__qualname__}.receive is async: threads call it, so write a plain function")
    return plain(answer)


def plain(answer: object) -> Json:
    """An answer as JSON has it: dates, decimals and lazy texts as Django writes them.

    Raises:
        BadPayload: it is no dict, a value is not JSON, it is nested deeper than 32 or over 256 KiB.
    """
    if answer is None:
        return {}
    if not isinstance(answer, Mapping):
        kind = answer.__class__.__name__
        raise BadPayload("the answer", f'must be a dict or None, not {kind}; wrap it, as in {{"value": ...}}')
    value = dict(answer)
    if not payload.is_flat(value):
        payload.find_fault("answer", value, _default)
    try:
        text = _encoder.encode(value)
        size = len(text.encode())
    except (TypeError, ValueError) as error:
        payload.find_fault("answer", value, _default)
        raise BadPayload("the answer", f"not JSON: {error}") from None
    if size > BODY_BYTES:
        raise BadPayload("the answer", f"{size} bytes, at most {BODY_BYTES}: answer what changed, not the whole page")
    made: Json = json.loads(text)
    return made

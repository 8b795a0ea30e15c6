"""`{% load livepush %}{% livepush %}`: what a page needs to be pushed to."""

from __future__ import annotations

from typing import Any

from django import template

from livepush.django.conf import PATH, conf

CONFIG_ID = "livepush-config"
"""The id of the element that holds the script's configuration."""

register = template.Library()


@register.inclusion_tag("livepush/livepush.html")
def livepush() -> dict[str, Any]:
    """The script and its configuration, once in a page; no inline script, so a strict Content-Security-Policy may stay.

    Without `LIVEPUSH_URL` the script finds the daemon at the page's own host, on `LIVEPUSH_PORT`.
    """
    known = conf()
    return {
        "id": CONFIG_ID,
        "config": {
            "url": known.url,
            "port": known.port,
            "path": PATH,
            "retry": list(known.retry),
            "heartbeat": known.heartbeat,
        },
    }

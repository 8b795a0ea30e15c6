"""`/livepush/sse`: the native messages as server-sent events."""

from __future__ import annotations

from twisted.web.http import Request
from twisted.web.resource import Resource

from livepush.daemon.front import Front
from livepush.daemon.response import plain


class SSEEndpoint(Resource):
    """`/livepush/sse`."""

    isLeaf = True

    def __init__(self, front: Front) -> None:
        Resource.__init__(self)
        self._front = front

    def render(self, request: Request) -> bytes | int:
        """Refuses, or begins the stream."""
        return plain(request, 404, "There is nothing here.")

"""Makes `twistd livepush`. twistd loads it for every command, so it imports nothing but what a plugin needs."""

from __future__ import annotations

from twisted.application.service import ServiceMaker

livepush = ServiceMaker(
    "livepush",
    "livepush.daemon.twistd",
    "Real-time push for Django: consumes from RabbitMQ, pushes to browsers.",
    "livepush",
)

"""Attacks on a running livepush, each on bare sockets and by HTTP, against real processes and a real RabbitMQ."""

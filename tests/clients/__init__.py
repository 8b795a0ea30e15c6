"""Clients of the daemon, for tests."""

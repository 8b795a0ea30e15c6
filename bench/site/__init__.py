"""The Django project that is measured: one channel for every logged-in user, sessions in a temporary SQLite file."""

"""The Django side of livepush: declare channels, publish what happened."""

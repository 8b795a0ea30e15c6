"""The soak's own judgement."""

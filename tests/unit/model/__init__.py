"""The product's own cores under random schedules; see `world`."""

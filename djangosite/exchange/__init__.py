"""The order exchange: a small real Django site that shows livepush at work."""

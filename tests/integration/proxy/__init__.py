"""livepush behind a proxy, as the documentation configures it."""

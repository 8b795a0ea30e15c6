"""Orders: locked by one who works on them, then done."""

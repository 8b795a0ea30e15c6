"""Real servers for the integration tests: private, on loopback, ended with the process that started them."""

"""Public test suites of the protocols, against the conformance server."""

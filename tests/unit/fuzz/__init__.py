"""The targets of `make fuzz`, each with few inputs."""

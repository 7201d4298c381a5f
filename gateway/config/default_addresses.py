"""The addresses that the gateway binds if the configuration names none."""

DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_ADMIN = "127.0.0.1:9090"

"""The gate: a reverse proxy that lets a request through only when it is paid for."""

"""Ids of what the service keeps: random, so that none can be guessed from another."""

import secrets


def new_id() -> str:
    """Returns 24 hex digits from 96 random bits."""
    return secrets.token_hex(12)

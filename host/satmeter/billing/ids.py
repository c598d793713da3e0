"""Ids of what the service keeps: random, so that none can be guessed from another."""

import secrets


def new_id() -> str:
    return secrets.token_hex(12)

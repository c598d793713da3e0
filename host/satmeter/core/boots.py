"""Boots: the names that a board or a sensor gives to the times between its restarts.

A register counts within one boot. What is told late of an earlier boot was counted when the next one began, so it is
refused by its name.
"""

REMEMBERED = 64


def with_earlier(boots: list[str], boot: str) -> list[str]:
    """Return the earlier boots, newest last, once `boot` is one of them."""
    return [*boots, boot][-REMEMBERED:] if boot else boots

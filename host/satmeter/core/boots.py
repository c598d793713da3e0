"""Boots: the names that a board or a sensor gives to the times between its restarts.

A register counts within one boot. Readings of an earlier boot that come late were counted when the next one began, so
they are refused: by the boot's name, or, where that name is unknown, by the time at which the reading was said.
"""

REMEMBERED = 64


def with_earlier(boots: list[str], boot: str) -> list[str]:
    """Return the earlier boots, newest last, once `boot` is one of them."""
    return [*boots, boot][-REMEMBERED:] if boot else boots


def is_earlier(boot: str, said_at: int, present: str, present_at: int, before: list[str]) -> bool:
    """Return whether what was said of `boot` at `said_at` (ms) is of a boot before the `present` one.

    `present_at` is when that was first taken (ms), `before` names earlier ones. What an unknown boot said
    before that counts nothing: without a grant it delivered nothing."""
    return boot in before or (boot != present and said_at < present_at)

"""How large a code is on a display: the host chooses a code by it, and the board draws by it.

This file is copied onto the board as it is, beside link.py."""

# Modules around a code: what the standard wants, what readers make do with, and what a code gets that fits no other
# way. On 64 rows that is an invoice with a route hint (up to 468 characters); readers managed it as well as others.
QUIET, QUIET_LEAST, QUIET_LAST = 4, 2, 1


def scale_of(n: int, width: int, height: int) -> int:
    """Return how many pixels a module of a code of n modules gets, the quiet zone included; 0 if it does not fit."""
    side = min(width, height)
    return max(side // (n + 2 * QUIET), side // (n + 2 * QUIET_LEAST)) or side // (n + 2 * QUIET_LAST)

"""How large a code is on a display: the host chooses a code by it, the board draws by it. This very file is on the
board, beside link.py."""

QUIET, QUIET_LEAST = 4, 2  # modules around a code: what the standard wants, and what readers make do with


def scale_of(n: int, width: int, height: int) -> int:
    """Return how many pixels a module of a code of n modules gets, the quiet zone included; 0 if it does not fit."""
    side = min(width, height)
    return max(side // (n + 2 * QUIET), side // (n + 2 * QUIET_LEAST))

"""What the terminal, or what else is written to, can show."""

import sys


def encodes(text: str) -> bool:
    """Whether the terminal, or what else is written to, has these letters."""
    try:
        text.encode((sys.stdout.encoding if sys.stdout is not None else "") or "ascii")
    except UnicodeEncodeError:
        return False
    return True

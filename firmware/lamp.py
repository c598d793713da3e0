"""The lamp: off, on (delivering), slow (waiting for payment) or fast (locked out)."""

PERIOD_MS = {"slow": 1000, "fast": 200}


def shown(mode: str, relay: bool) -> str:
    """Return what the lamp shows: the board knows best whether it delivers, the host why it does not."""
    if relay:
        return "on"
    return "slow" if mode == "on" else mode


def lit(mode: str, now_ms: int) -> bool:
    """Return whether the LED is on at a time."""
    if mode in PERIOD_MS:
        period = PERIOD_MS[mode]
        return now_ms % period < period // 2
    return mode == "on"

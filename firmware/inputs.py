"""Contacts that bounce, and an ADC that is stuck."""

RAIL = 64
"""Raw readings (of 65,535) that count as the end of the ADC's range."""


class Debounced:
    """A level that counts once it has been the same for a while."""

    def __init__(self, level: bool, ms: int):
        self.level = level
        self._ms = ms
        self._since = None

    def update(self, level: bool, now: int) -> bool:
        """Take a reading; return the level that counts."""
        if level == self.level:
            self._since = None
        elif self._since is None and self._ms:
            self._since = now
        elif self._since is None or now - self._since >= self._ms:
            self.level, self._since = level, None
        return self.level


class Pulses:
    """A line that idles high: each time that it is low for a while, and high for a while before the next, is a pulse.

    A change that does not last is a bounce, where a lasting one follows. Where none does, a pulse may have been too
    short to be counted: it is lost. edge() is called in an interrupt, where nothing may allocate; times are
    microseconds of a counter that wraps, of which `diff` gives the difference.
    """

    def __init__(self, us: int, diff):  # type: ignore[no-untyped-def]
        self.count = self.lost = 0
        self._us, self._diff = us, diff
        self._steady = self._level = 1
        self._since = self._left = 0  # when the level last changed, and when it left the steady one
        self._away = False

    def edge(self, level: int, now: int) -> None:
        """Takes a change of the line: its new level (0 or 1), and its time in microseconds."""
        self.settle(now)
        if not self._away:
            self._away, self._left = True, now
        self._level, self._since = level, now

    def settle(self, now: int) -> None:
        """Count what has lasted up to now."""
        if not self._away:
            return
        if self._diff(now, self._since) >= self._us:
            self._away = False
            if self._level == self._steady:
                self.lost += 1  # it went and came back without having been anything
                return
            self._steady = self._level
            if not self._level:
                self.count += 1
        elif self._diff(now, self._left) >= 4 * self._us:
            self.lost += 1  # it changes and changes, and nothing lasts
            self._left = now


class Rail:
    """Says when readings have stood at an end of the range for a set time: a broken wire, or a short."""

    def __init__(self, ms: int):
        self._ms = ms
        self._since = None

    def stuck(self, raw: int, now: int) -> bool:
        """Returns whether readings have been at an end of the range for the set time.

        raw: the new reading, 0 to 65,535; now: its time in ms. Always False where the set time is 0."""
        if not self._ms or RAIL <= raw <= 65535 - RAIL:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= self._ms

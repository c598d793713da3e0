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


class Rail:
    """Says when readings have stood at an end of the range for a set time: a broken wire, or a short."""

    def __init__(self, ms: int):
        self._ms = ms
        self._since = None

    def stuck(self, raw: int, now: int) -> bool:
        if not self._ms or RAIL <= raw <= 65535 - RAIL:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= self._ms

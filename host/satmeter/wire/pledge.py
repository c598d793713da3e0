"""A pledge: a signed line by which a buyer allows a gate to spend credit of a metered session.

The buyer's node signs it by `signmessage`, so any Lightning node can make one:

    satmeter-gate SESSION GATE PATH MSAT UNTIL NONCE

SESSION is the session's id, 32 hex digits. GATE is the gate's HOST[:PORT] as its config has it. PATH,
decoded, stands for itself and for all below it; / is everything there. MSAT is the most that all
requests under this pledge may cost together. UNTIL is when it ends, in seconds since 1970. NONCE is 8
to 64 letters, digits, - or _, different in each pledge: the same line is the same pledge."""

import re
from dataclasses import dataclass

MARK = "satmeter-gate"
LASTS_S = 600
"""The furthest that a pledge's end may lie ahead."""

_LINE = re.compile(
    rf"{MARK} ([0-9a-f]{{32}}) ([a-z0-9.:\[\]-]{{1,255}}) (/[!-~]{{0,999}}) ([1-9][0-9]{{0,15}}) ([0-9]{{1,12}})"
    r" ([0-9A-Za-z_-]{8,64})"
)


@dataclass(frozen=True, slots=True)
class Pledge:
    """most_msat in msat, until_s in seconds since 1970."""

    session: str
    gate: str
    path: str
    most_msat: int
    until_s: int
    nonce: str

    @classmethod
    def parse(cls, line: str) -> "Pledge | None":
        """Return the pledge of a line, None for any other text."""
        found = _LINE.fullmatch(line)
        return cls(found[1], found[2], found[3], int(found[4]), int(found[5]), found[6]) if found else None

    @property
    def line(self) -> str:
        """What is signed."""
        return f"{MARK} {self.session} {self.gate} {self.path} {self.most_msat} {self.until_s} {self.nonce}"

    def covers(self, gate: str, paths: tuple[str, ...]) -> bool:
        """Whether it is for this gate, and for all of these paths."""
        below = self.path if self.path.endswith("/") else f"{self.path}/"
        return gate == self.gate and all(path == self.path or path.startswith(below) for path in paths)

    def is_running(self, now_s: float) -> bool:
        """Returns whether the pledge ends after now_s (seconds since 1970), by 600 s at most."""
        return now_s < self.until_s <= now_s + LASTS_S

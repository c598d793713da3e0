"""A reading: what a board or a device says of its meter, one value from the wire to the core."""

from dataclasses import dataclass, fields, replace

from .plain import Plain

LESSER_FAULTS = ("", "display", "adc at its end", "pulses while off")
"""Faults with which a board still delivers and counts; with any other nothing is sold, and a session ends after its
grace time."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted, and how things stand; counts in ticks, `flow` in ticks an hour.

    `boot` is the id of the board's present boot, `base` the register at which that boot began, and `register` the
    register now. `grant` is the register up to which the board would deliver now, None where it does not state it.
    `display` is the display's size as WxH. `fault` is what is wrong with the board, "" for nothing. `board` is the
    board's own id, "" where it has none. `presses` is how often its button was pressed since the boot began, `position`
    where its potentiometer stands, in permille. `age_ms` is how long ago the board said it."""

    boot: str
    register: int
    base: int = 0
    flow: int = 0
    plugged: bool = True
    grant: int | None = None
    display: str = ""
    fault: str = ""
    board: str = ""
    presses: int = 0
    position: int = 0
    age_ms: int = 0

    def aged(self, age_ms: int) -> "Reading":
        """Returns the same reading, said so long ago."""
        return replace(self, age_ms=age_ms)

    def params(self) -> Plain:
        """Returns it as parameters of meter-report; what is as usual is left out."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        usual = {each.name: each.default for each in fields(self)}
        said: Plain = {name: value for name, value in given.items() if value != usual[name]}
        if self.age_ms:
            said["age"] = said.pop("age_ms")
        return said

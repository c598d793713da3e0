"""Whether a source is believed: its counts become a register that never goes back and never outruns the rating.

A source that is not believed is in quarantine: delivery stops, nothing is charged of what it says meanwhile, and the
meter says what is wrong. It is believed again as soon as it goes on from where it was, or has counted plausibly from
where it is for CONFIRMED readings; what it jumped by is never charged.

A count that falls to nothing, or is of another epoch, began anew: what it has by now is charged. Where it turns out to
have said so for a moment only, and goes on from where it was before, only what flowed since is charged.
"""

import math
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from .boundary import EXPONENT, Count

SLACK_S = 5
"""So many seconds of the rating may be read at once: counts come in steps, and late."""
MOST = Decimal(2**53)
CONFIRMED = 5
STEP_S = 60
"""A step may be what flowed since the last one, in so much time at most: the seller looks back no further."""
JUMPS, JUMPS_S = 3, 3_600
"""After this many jumps within this time the meter sells nothing more, until a person has looked. None is charged."""
STUCK_S, STUCK_STEPS = 60, 3
"""A source that does not count for so long is stuck, if by the power that it states it should have made so many steps:
of the largest that it made so far, or of the last digit that it shows."""
RESTARTED = Fraction(1, 20)
"""A count that fell to less than this of itself began anew from 0."""
MOMENT_S, RESTED_S = 60, 3_600
"""For so long a count that fell may go on from where it was; after that it had begun anew. And so long one that went
back a little, and was believed there."""
POWER_MOST = 2
"""A stated power of more than so many times the rating is in another unit than the count: W beside kWh."""


@dataclass(slots=True)
class Fall:
    """A count before it began anew, when that was read, and the ticks that were charged since."""

    count: Count
    at: float
    charged: Fraction = Fraction(0)
    rested: Decimal | None = None
    """Where it was believed, if it went back a little and did not begin anew."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a register is continued from after a restart of the bridge: `at` in s since 1970.

    `source` says which one counted: another's count is not gone on from. `part` is what was counted and is less than
    a tick yet (a fraction, as text), `left` how many ticks could still flow by the grant."""

    source: str
    boot: str
    register: int
    value: str
    epoch: str
    at: float
    part: str = "0"
    left: int = 0
    flowing_s: float = 0.0
    """For how long it may have flowed since the count moved last."""

    @property
    def sound(self) -> bool:
        """Whether it can be: a file may have been broken, or written by hand."""
        try:
            value, part = Decimal(self.value), Fraction(self.part)
        except (InvalidOperation, ValueError, ZeroDivisionError):
            return False
        counted = self.register >= 0 and sound(value) and part < 1 and 0 <= self.left <= MOST
        return bool(self.boot) and counted and self.at > 0 and 0 <= self.flowing_s < math.inf


def sound(value: Decimal) -> bool:
    """Whether a number can be a count: none that is negative, endless, or of more digits than a register has."""
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and abs(exponent) <= EXPONENT and 0 <= value <= MOST


class Trust:
    """One source's register; `ticks` of it are one unit of the source, `rating` is in ticks a second (0: none)."""

    def __init__(self, ticks: Fraction, rating: int, boot: str) -> None:
        self._ticks, self._rating = ticks, rating
        self.boot, self.register, self.flow = boot, 0, 0
        """`flow` in ticks an hour."""
        self.fault = ""
        self._last: Count | None = None
        self._at = 0.0
        self._part = Fraction(0)
        self._moved_at = 0.0
        self._step_most = self._expected = Fraction(0)
        """The largest step so far, and what should have been counted since the last one, by the stated power."""
        self._doubted: list[tuple[Decimal, float]] = []
        self._fall: Fall | None = None
        self._seen_at = 0.0
        self._flowing_s = 0.0
        """For how long it may have flowed since the count moved last."""
        self._may_have = Fraction(0)
        """What may have flowed while no bridge ran, where the clock does not say for how long that was."""
        self._jumps: list[float] = []
        self._unfit = False
        self._unbegun = ""
        """The epoch that was told with the count of the one before: its own count begins with the next fall."""

    def resume(self, known: Known, now: float) -> None:
        """Goes on from what a bridge before this one knew: what flowed since is counted as far as the rating allows.

        Where the clock is behind that bridge's, it is counted as far as the grant of then allowed."""
        self._flowing_s = known.flowing_s
        self._part, self._may_have = Fraction(known.part), Fraction(known.left if now <= known.at else 0)
        self.boot, self.register = known.boot, known.register
        self._last, self._at = Count(Decimal(known.value), None, known.epoch), min(known.at, now)
        self._moved_at = self._seen_at = now

    def known(self, source: str, left: int = 0) -> Known | None:
        """Returns what the next bridge goes on from, by a source's identity; `left` ticks could flow by the grant.

        None before the first count, and for the moment in which a count that fell may still come back."""
        if self._last is None or (self._fall is not None and self._at <= self._fall.at + MOMENT_S):
            return None
        return Known(
            source,
            self.boot,
            self.register,
            str(self._last.value),
            self._last.epoch,
            self._at,
            str(self._part),
            left,
            self._flowing_s,
        )

    def take(self, count: Count, now: float, flowing: bool = True) -> None:
        """Takes a count that was read at `now` (s); `fault` says afterwards whether the source is believed.

        `flowing`: whether anything may have flowed since the count before."""
        if count.power is not None and not self._may_be(count.power):
            count = replace(count, power=None)
        if not sound(count.value):
            self.fault = f"source counts {str(count.value)[:12]}"
            return
        if self._last is None:
            self._rest_at(count, now)
            return
        if flowing:
            self._flowing_s += max(0.0, now - self._seen_at)
        self._seen_at = now
        step = self._step(count, now)
        if step is None:
            self._doubt(count, now, f"went back to {count.value}")
        elif self._rating and step > max(self._most(max(now - self._at, min(self._flowing_s, STEP_S))), self._may_have):
            self._doubt(count, now, f"jumped to {count.value}")
        else:
            self._count(step, count, now)

    def _may_be(self, power: Decimal) -> bool:
        """Whether a stated power can be one: what is far over the rating is in another unit than the count."""
        if not sound(power.copy_abs()):
            return False
        return not self._rating or Fraction(power) * self._ticks <= POWER_MOST * self._rating * 3600

    def _step(self, count: Count, now: float) -> Fraction | None:
        """Returns the ticks since the last count that was believed, None where it went back."""
        assert self._last is not None
        value, last = Fraction(count.value), Fraction(self._last.value)
        if self._fall is not None and self._is_back(self._fall, count, now):
            return (value - Fraction(self._fall.count.value)) * self._ticks - self._fall.charged
        if count.epoch != self._last.epoch and value == last:
            return Fraction(0)  # it tells of a new epoch before it has begun to count in it
        begins = value <= last * RESTARTED or (self._unbegun != "" and count.epoch == self._unbegun)
        if count.epoch != self._last.epoch or (value < last and begins):
            return value * self._ticks
        return (value - last) * self._ticks if value >= last else None

    def _is_back(self, fall: Fall, count: Count, now: float) -> bool:
        """Whether a count goes on from where it was before it fell, so that it had not begun anew."""
        assert self._last is not None
        rise = Fraction(count.value) - Fraction(fall.count.value)
        if count.epoch != fall.count.epoch or rise < 0:
            return False
        last, before = Fraction(self._last.value), Fraction(fall.count.value)
        if fall.rested is not None:
            low = Fraction(fall.rested)
            near = 2 * (last - low) <= before - low and now <= fall.at + RESTED_S
            return near and (not self._rating or rise * self._ticks <= self._most(now - fall.at))
        from_nothing = last <= before * RESTARTED or (last == before and count.epoch != self._last.epoch)
        if not from_nothing or now > fall.at + MOMENT_S:
            return False
        return not self._rating or rise * self._ticks <= self._most(now - fall.at)

    def _note_fall(self, step: Fraction, count: Count) -> None:
        """Remembers where a count was before it began anew, until it goes on from there or has passed that."""
        assert self._last is not None
        fall, value = self._fall, Fraction(count.value)
        if count.epoch != self._last.epoch:
            self._unbegun = count.epoch if value == Fraction(self._last.value) else ""
        elif value < Fraction(self._last.value):
            self._unbegun = ""
        if count.epoch != self._last.epoch or value < Fraction(self._last.value):
            if fall is None or count.epoch != fall.count.epoch or value < Fraction(fall.count.value):
                self._fall = Fall(self._last, self._at, max(Fraction(0), step))
            else:
                self._fall = None
        elif fall is not None:
            fall.charged += step
            if count.epoch == fall.count.epoch and value >= Fraction(fall.count.value):
                self._fall = None

    def _most(self, seconds: float) -> Fraction:
        return self._rating * (Fraction(max(0.0, seconds)) + SLACK_S)

    def _count(self, step: Fraction, count: Count, now: float) -> None:
        assert self._last is not None
        self._note_fall(step, count)
        self._part += step
        whole = max(0, math.floor(self._part))  # what was charged too much is taken from what comes
        self._part -= whole
        self.register += whole
        self._may_have = Fraction(0)
        if step > 0:
            self._flowing_s = 0.0
        self.flow = self._flow(step, count, now)
        if step > 0 or count.power is None or count.power <= 0:
            self._moved_at, self._expected = now, Fraction(0)
        else:
            self._expected += Fraction(count.power) * self._ticks * Fraction(max(0.0, now - self._at)) / 3600
        shown = (
            count.resolution if count.resolution is not None else Decimal(10) ** int(count.value.as_tuple().exponent)
        )
        at_once = step if now - self._at <= STUCK_S else Fraction(0)  # after a gap it is many steps
        self._step_most = max(self._step_most, at_once, Fraction(shown) * self._ticks)
        self._last, self._at, self._doubted = count, now, []
        stuck = now - self._moved_at > STUCK_S and self._expected > STUCK_STEPS * self._step_most
        self.fault = "source does not count" if stuck else self._restless(now)

    def _flow(self, step: Fraction, count: Count, now: float) -> int:
        if count.power is not None and count.power.is_finite() and count.power >= 0:
            return int(Fraction(count.power) * self._ticks)
        return max(0, int(step * 3600 / Fraction(now - self._at))) if now > self._at else self.flow

    def _doubt(self, count: Count, now: float, why: str) -> None:
        """Not believed; from where it is now it may show that it counts plausibly again."""
        self.fault, self.flow = f"source {why}"[:40], 0
        before = self._doubted[-1] if self._doubted else None
        good = before is not None and self._plausible(before, count.value, now)
        self._doubted = [*self._doubted, (count.value, now)] if good else [(count.value, now)]
        if len(self._doubted) >= CONFIRMED:
            self._rest_after_doubt(count, now)

    def _rest_after_doubt(self, count: Count, now: float) -> None:
        assert self._last is not None
        if count.epoch == self._last.epoch and count.value < self._last.value:
            before = self._fall
            if before is None or before.rested is None or before.charged or now > before.at + RESTED_S:
                self._fall = Fall(self._last, now, rested=count.value)
        else:
            self._jumps = [*self._jumps, now][-JUMPS:]
        self._rest_at(count, now)

    def _restless(self, now: float) -> str:
        """Returns what is wrong where the source jumps again and again: its steps are larger than the rating allows."""
        self._unfit = self._unfit or len([each for each in self._jumps if each > now - JUMPS_S]) >= JUMPS
        return "source jumps again and again" if self._unfit else ""

    def _plausible(self, before: tuple[Decimal, float], value: Decimal, now: float) -> bool:
        step = (Fraction(value) - Fraction(before[0])) * self._ticks
        return step >= 0 and (not self._rating or step <= self._most(now - before[1]))

    def _rest_at(self, count: Count, now: float) -> None:
        """Counts on from here; what lies before is not charged."""
        self._last, self._at, self._moved_at, self._doubted = count, now, now, []
        self._seen_at, self._flowing_s, self.fault = now, 0.0, self._restless(now)

"""The register: what the potentiometer says, integrated over the measured time, and pulses, in whole ticks.

flow is in ticks an hour, time in microseconds; what is less than a tick is carried on, never rounded away.
"""

TICK = 3600 * 1000 * 1000  # microseconds in an hour: one tick of a flow of one tick an hour
TOP = 65535
HYSTERESIS = 100
WINDOW_US = 2000 * 1000
TURNED = 15  # permille that the potentiometer has to be turned by, so that noise turns nothing


class Counter:
    """The register, counted in whole ticks from a potentiometer's flow or from pulses.

    register and base (its value at boot) are in ticks, flow in ticks an hour, position (of the potentiometer, also
    while nothing flows) in permille."""

    def __init__(self, config, base: int = 0):  # type: ignore[no-untyped-def]
        """config: as settings.filled() returns it."""
        self.full_scale = config["full_scale"]
        self.dead_zone = config["dead_zone"]
        self.points = config["calibration"] or [[self.dead_zone, 0], [TOP, 1000]]
        self.ticks_per_pulse = config["ticks_per_pulse"]
        self.base = base
        self.register = base
        self.flow = 0
        self.position = 0
        self._part = 0
        self._moving = False
        self._window = (base, 0)

    def sample(self, raw: int, open_: bool, dt_us: int) -> None:
        """Count dt_us of the flow that `raw` (0 to 65,535) stands for; nothing flows while the relay is open.

        Noise goes into the sum as it comes and averages out there; only around the dead zone a step between on and off
        would not, so leaving it takes a little more than entering it.
        """
        self._moving = raw > self.dead_zone + (0 if self._moving else HYSTERESIS)
        self._turn(self._flow_of(raw) * 1000 // self.full_scale if self._moving else 0)
        if open_ or not self._moving:
            self.flow = 0
            return
        self.flow = self._flow_of(raw)
        self._part += self.flow * max(0, dt_us)
        whole = self._part // TICK
        self._part -= whole * TICK
        self.register += whole

    def _turn(self, position: int) -> None:
        if position == 0 or position == 1000 or abs(position - self.position) >= TURNED:
            self.position = position

    def _flow_of(self, raw: int) -> int:
        """Return the flow along the calibration's lines."""
        low = self.points[0]
        for high in self.points[1:]:
            if raw <= high[0]:
                break
            low = high
        else:
            return self.full_scale * low[1] // 1000
        if raw <= low[0]:
            return self.full_scale * low[1] // 1000
        span = (high[0] - low[0]) * 1000
        return self.full_scale * (low[1] * (high[0] - low[0]) + (high[1] - low[1]) * (raw - low[0])) // span

    def pulses(self, n: int, dt_us: int) -> None:
        """Counts n pulses of the last dt_us microseconds, and computes the flow from them.

        The flow is measured from one pulse to another that comes 2 s or more later. While no pulse
        comes, the flow is at most what one pulse at this moment would give."""
        self.register += n * self.ticks_per_pulse
        start, us = self._window
        us += dt_us
        if n and us >= WINDOW_US:
            self.flow = (self.register - start) * TICK // us
            start, us = self.register, 0
        elif us >= WINDOW_US:
            self.flow = min(self.flow, (self.register - start + self.ticks_per_pulse) * TICK // us)
        self._window = (start, us)

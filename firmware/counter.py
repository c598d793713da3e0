"""The register: flow from the potentiometer integrated over the measured time, in whole ticks.

flow is in ticks an hour, time in microseconds; what is less than a tick is carried on, never rounded away.
"""

TICK = 3600 * 1000 * 1000  # microseconds in an hour: one tick of a flow of one tick an hour


class Counter:
    def __init__(self, full_scale: int, dead_zone: int = 600, base: int = 0):
        """full_scale: ticks an hour at the end of the potentiometer; dead_zone: raw readings (of 65,535) that are 0."""
        self.full_scale = full_scale
        self.dead_zone = dead_zone
        self.base = base
        self.register = base
        self.flow = 0
        self._part = 0

    def sample(self, raw: int, open_: bool, dt_us: int) -> None:
        """Count dt_us of the flow that `raw` (0 to 65,535) stands for; nothing flows while the relay is open."""
        if open_ or raw <= self.dead_zone:
            self.flow = 0
            return
        span = 65535 - self.dead_zone
        self.flow = (raw - self.dead_zone) * self.full_scale // span
        self._part += self.flow * max(0, dt_us)
        whole = self._part // TICK
        self._part -= whole * TICK
        self.register += whole

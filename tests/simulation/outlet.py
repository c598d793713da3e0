"""The seller's outlet: the board's own firmware, the line, and the bridge's end of it, in virtual time."""

from clockwork import START_MS

from satmeter.board.virtual import HostHal, firmware
from satmeter.core import commands as cmd
from satmeter.core.errors import SatmeterError
from satmeter.wire.dialogue import Dialogue

KEY = bytes(range(32))
METER, OTHER = "m", "n"
"""The meter that a plan is about, and the one beside it that the neighbour uses, too."""
STEP_MS, IDLE_MS = 50, 250
TICKS_PER_S = 30
REFUSALS = ("Implausible", "BadParam")
"""Answers after which a bridge lets go of a reading (bridge.py)."""
CONFIG = {"key": KEY.hex(), "board": "sim", "full_scale": TICKS_PER_S * 3600, "dead_zone": 0, "plug_debounce_ms": 0}


class Hal(HostHal):
    """What firmware/hal.py offers, over virtual time."""

    def __init__(self, sim, meter):
        super().__init__()
        self.sim = sim
        self.dice = sim.plan.chance("hal", meter)
        self.is_plugged = False
        self.arrived, self.leaving = b"", b""

    def now_us(self):
        return (self.sim.now - START_MS) * 1000

    def random(self, n):
        return bytes(self.dice.randrange(256) for _ in range(n))

    def read(self):
        data, self.arrived = self.arrived, b""
        return data

    def write(self, data):
        self.leaving += data
        return len(data)


class Outlet:
    """`delivered` is what truly flowed, over all boots; `lost` what a board forgot when its power was cut."""

    def __init__(self, sim, meter):
        self.sim, self.meter = sim, meter
        self.hal = Hal(sim, meter)
        self.delivered = 0
        self.boots = self.cuts = self.forgotten = 0
        """Starts of the board, times that it cut at its grant, and starts at which it had forgotten its register."""
        self.app = self._boot(0)
        self.talk, self.view, self.shown = None, None, None
        self.bridge_life = 0
        self.reported = []
        self.start_bridge()
        sim.after(0, self._step)

    def _boot(self, base):
        self.boots += 1
        self.hal.arrived = self.hal.leaving = b""
        return firmware("app").App(self.hal, CONFIG, base)

    def reboot(self, keep):
        base = self.app.counter.register if keep else 0
        self.forgotten += not keep
        self.app.off()
        self.app = self._boot(base)

    # --- the line

    def _step(self):
        before, limit = self.app.counter.register, self.app.grant
        self.app.step()
        flowed = self.app.counter.register - before
        self.delivered += flowed
        if flowed:
            self.sim.judge.flowed(self, flowed, limit)
            self.cuts += self.app.counter.register >= limit
        self._exchange()
        busy = self.sim.busy
        self.sim.after(STEP_MS if busy else IDLE_MS, self._step)

    def _exchange(self):
        up, self.hal.leaving = self.hal.leaving, b""
        if self.talk is None:
            return
        how = self.sim.weather("line") or ""
        now = self.sim.now
        up = b"" if how in ("cut", "cut up") else self._spoilt(up, how, "up")
        self.talk.feed(up, now)
        if self.talk.lost(now):
            self.talk.ask(f"{self.sim.plan.chance('nonce', self.meter, now).randrange(16**12):012x}", now)
        down = self.talk.pull(now)
        self.hal.arrived += b"" if how in ("cut", "cut down") else self._spoilt(down, how, "down")
        self._report()

    def _spoilt(self, data, how, way):
        if not data or how not in ("lose", "garble"):
            return data
        dice = self.sim.plan.chance("line", self.meter, way, self.sim.now)
        if dice.random() < 0.5:
            return data
        at = dice.randrange(len(data))
        return data[:at] if how == "lose" else data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]

    # --- the bridge

    def start_bridge(self):
        if self.talk is None:
            self.talk, self.view = Dialogue(KEY), None
            self.changed()

    def kill_bridge(self, down):
        self.talk = None
        self.bridge_life += 1
        self.sim.after(down, self.start_bridge)

    def _report(self):
        waiting = self.talk.oldest()
        if waiting is None:
            return
        talk = self.talk

        def answered(answer):
            if answer is not None and not (isinstance(answer, SatmeterError) and answer.name not in REFUSALS):
                talk.reported(waiting, self.sim.board_view(self.meter))

        self.reported.append((waiting.reading, waiting.heard_at))
        self._tell(waiting.reading, waiting.heard_at, answered)

    def _tell(self, told, said_at, answered=lambda answer: None):
        self.sim.seller.feed(cmd.Report(meter=self.meter, reading=told.aged(self.sim.now - said_at)), answered)

    def report_again(self, dice):
        """A bridge that hung tells a reading of before."""
        if self.reported:
            newest = self.reported[-20:]
            self._tell(*newest[dice % len(newest)])

    def changed(self):
        """meter-wait answers when what the board has to know has changed."""
        view, life = self.sim.board_view(self.meter), self.bridge_life
        if view is not None and view != self.view and self.talk is not None:
            self.view = view
            self.sim.after(4, self._show, view, life, self.talk.views)

    def _show(self, view, life, asked):
        if life == self.bridge_life and self.talk is not None and not self.talk.show(view, asked):
            self.view = None  # as bridge.py: it is asked for again
            self.changed()

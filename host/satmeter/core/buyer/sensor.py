"""The buyer's own sensor: where it begins to count for a stream, and whether it is heard."""

from .. import commands as cmd
from ..boots import is_earlier
from ..errors import Implausible
from ..states import StreamState
from ..tariff import Tariff
from . import events as ev
from . import policy
from .context import Part
from .session import UNHEARD, BuyerSession

SILENT_MS, LATE_MS = 30_000, 5_000


class Sensor(Part):
    """What it says of the use, in the seller's ticks."""

    def reading(self, command: cmd.SensorReading) -> BuyerSession:
        """stream-report."""
        stream = self.context.stream_of_board(command.session)
        sensor = stream.sensor
        if is_earlier(command.boot, self.now - command.age_ms, sensor.boot, sensor.booted_at, sensor.boots):
            raise Implausible(f"boot {command.boot} of the sensor was before its boot {sensor.boot}", boot=command.boot)
        if command.boot != stream.sensor.boot:
            # Where both the sensor and we restarted, what it counted meanwhile is not known.
            start = stream.sensor.start if stream.memory.sensor_at else None
            self.starts(stream, command.boot, stream.memory.sensor_count - command.base, start)
        count = stream.memory.sensor_count = max(stream.memory.sensor_count, stream.sensor.offset + command.register)
        stream.memory.sensor_at = max(stream.memory.sensor_at, self.now - command.age_ms)
        if stream.sensor.start is None and stream.tariff is not None:
            start = count - self._may_have_run(stream, stream.tariff)
            self.starts(stream, stream.sensor.boot, stream.sensor.offset, start)
        if stream.ticks_after_close == UNHEARD and stream.own_ticks is not None:
            most = policy.most_ticks(stream.policy, stream.own_ticks)
            self.emit(ev.SensorHeard(at=self.now, subject=stream.id, most_ticks=most))
        return stream

    def starts(self, stream: BuyerSession, boot: str, offset: int, start: int | None) -> None:
        """Record where the sensor counts from, and where the stream began in its count."""
        self.emit(ev.SensorBooted(at=self.now, subject=stream.id, boot=boot, offset=offset, start=start))

    def _may_have_run(self, stream: BuyerSession, tariff: Tariff) -> int:
        """Return the ticks that may have run before the sensor was heard: what was invoiced, and what is at risk."""
        # In flight for us, it may be credited there.
        begun = stream.payments or stream.in_flight or stream.carried_msat or not tariff.prepaid
        at_risk_msat = tariff.quantum_msat if tariff.prepaid else tariff.limit_msat
        return stream.ticks + (tariff.ticks(at_risk_msat) if begun else 0)

    def waited_for(self, stream: BuyerSession, ticks: int) -> bool:
        """Whether nothing is paid now because an own sensor that was heard before is not: `ticks` are the seller's.

        It is silent; or it is late, and what it said last does not reach to that count: the seller asks again. A
        late sensor alone is never a breach."""
        streaming = bool(stream.sensor.boot) and stream.state == StreamState.STREAMING
        old_ms = self.now - stream.memory.sensor_at
        own = stream.own_ticks
        reached = max(ticks, stream.memory.told_ticks, stream.ticks)
        short = own is not None and reached > policy.most_ticks(stream.policy, own)
        waits = ""
        if stream.ticks_after_close == UNHEARD:
            waits = "the own sensor was not heard since the start"
        elif streaming and old_ms >= SILENT_MS:
            waits = "the own sensor is silent"
        elif streaming and short and old_ms >= LATE_MS:
            waits = "the own sensor is late"
        if waits != stream.memory.waits:
            stream.memory.waits = waits
            self.context.notify(stream, why=waits)
        return bool(waits)

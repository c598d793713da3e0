"""A node's meters and streams as figures for Prometheus, asked of its plugins at each scrape.

Sums over all receipts (what was earned) are asked once in TOTALS_S, since they read the whole journal. They are no
counters: they fall where receipts are deleted for their age, or a newer one states less.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from pyln.client import RpcError

from ..core.errors import SatmeterError
from ..core.plain import JsonObject
from ..core.reading import LESSER_FAULTS
from ..core.status import BuyerStatus, MeterStatus, SellerStatus, SessionStatus, StreamStatus, read_as
from ..node.rpc import UNKNOWN_COMMAND, Node, code_of

TOTALS_S = 60.0
STATES = ("standby", "negotiating", "delivering", "suspended", "lockout")
NODE_ID = 66
"""Hex digits of a node's id."""
SOLD = {
    "sessions": "Sessions that have ended with a receipt.",
    "paid_msat": "What was paid for them, what was carried in from earlier sessions included.",
    "charged_msat": "What they were charged.",
    "earned_msat": "What they were charged and paid.",
    "refunded_msat": "What was given back, fees and what was carried on into later sessions included.",
    "carried_in_msat": "What was carried in from earlier sessions.",
    "carried_on_msat": "What was carried on into later sessions.",
    "lapsed_msat": "What of it nobody asked back.",
}
TIMED = {
    "commit": "How long commits of the journal took.",
    "payment": "How long payments, and a seller's refunds, took until their outcome was known.",
}
TERMS = ("unit", "price_msat", "ticks_per_unit", "mode")
Of = TypeVar("Of", MeterStatus, SessionStatus, StreamStatus)


@dataclass(frozen=True, slots=True)
class Gauge(Generic[Of]):
    """One figure; `of` gives it from a status."""

    name: str
    about: str
    of: Callable[[Of], float]


METER: tuple[Gauge[MeterStatus], ...] = (
    Gauge("flow_ticks_per_hour", "The present flow.", lambda meter: meter.flow),
    Gauge("credit_msat", "Credit of the present session.", lambda meter: meter.credit_msat),
    Gauge("exposure_msat", "What the seller could lose now.", lambda meter: meter.exposure_msat),
    Gauge("exposure_bound_msat", "The most that the tariff lets it lose.", lambda meter: meter.exposure_bound_msat),
    Gauge("heard", "Whether the board or device was heard of late.", lambda meter: meter.board == "heard"),
    Gauge("faulty", "Whether a fault keeps it from delivering.", lambda meter: meter.fault not in LESSER_FAULTS),
    Gauge("plugged", "Whether something is plugged in.", lambda meter: meter.plugged),
)
SESSIONS: tuple[Gauge[SessionStatus], ...] = (
    Gauge("owed_msat", "What is owed and not given back yet.", lambda session: session.owed_msat),
    Gauge(
        "owed_to_nodes_msat",
        "What of it is owed to nodes, which is paid by itself.",
        lambda session: owed_to_node(session),
    ),
    Gauge("held_msat", "Signed on-chain value that is not broadcast yet.", lambda session: session.held_msat),
    Gauge("alarms", "Sessions that a person has to look at.", lambda session: bool(session.alarm)),
)
STREAMS: tuple[Gauge[StreamStatus], ...] = (
    Gauge("paid_msat", "What live streams have paid.", lambda stream: stream.paid_msat),
    Gauge("fees_msat", "Routing fees of live streams.", lambda stream: stream.fees_msat),
    Gauge("in_flight_msat", "What is on its way to sellers.", lambda stream: stream.in_flight_msat),
    Gauge("exposure_msat", "What would be lost if the sellers vanished now.", lambda stream: stream.exposure_msat),
    Gauge("exposure_bound_msat", "The most that the caps let be lost.", lambda stream: stream.exposure_bound_msat),
    Gauge("refusals", "Invoices that live streams refused.", lambda stream: len(stream.refusals)),
    Gauge("disputed", "Streams whose seller's count is disputed.", lambda stream: stream.disputed),
)


def owed_to_node(session: SessionStatus) -> int:
    """Returns what a session owes to a buyer's node, in msat; a bearer's rest is for the bearer to ask for."""
    return session.owed_msat if len(session.buyer) == NODE_ID else 0


@dataclass(slots=True, eq=False)
class Figures(Collector):
    """Collects from one node; what a plugin that was never loaded would say is left out."""

    node: Node
    clock: Callable[[], float] = time.monotonic
    _sold: dict[str, dict[str, int]] = field(default_factory=dict)
    _sold_at: float = -TOTALS_S
    _known: set[str] = field(default_factory=set)
    """Plugins that have answered: one that is gone is down, and lightningd does not start it again by itself."""

    def collect(self) -> Iterator[Metric]:
        """Yields the figures of now."""
        up = GaugeMetricFamily("satmeter_up", "Whether the node's plugin answers.", labels=["plugin"])
        found: list[Metric] = [up]
        timed = {
            what: HistogramMetricFamily(f"satmeter_{what}_seconds", about, labels=["plugin"])
            for what, about in TIMED.items()
        }
        for plugin, method, of in (("meter", "meter-status", self._seller), ("stream", "stream-list", self._buyer)):
            try:
                told = of(self.node.call(method))
                self._timed(plugin, timed)
            except (RpcError, SatmeterError, LookupError) as error:  # LookupError: an answer of another version
                absent = isinstance(error, RpcError) and code_of(error) == UNKNOWN_COMMAND
                if not absent or plugin in self._known:
                    up.add_metric([plugin], 0)
            else:
                self._known.add(plugin)
                up.add_metric([plugin], 1)
                found += told
        yield from [*found, *timed.values()]

    def _timed(self, plugin: str, timed: dict[str, HistogramMetricFamily]) -> None:
        try:
            told = self.node.call(f"{plugin}-figures")
        except RpcError as error:
            if code_of(error) != UNKNOWN_COMMAND:  # of a plugin that is older than this
                raise
            return
        for what, family in timed.items():
            of, upto = told[f"{what}s"], 0
            steps = [(str(int(ms) / 1000), upto := upto + count) for ms, count in of["up_to_ms"].items()]
            family.add_metric([plugin], [*steps, ("+Inf", upto + of["longer"])], sum_value=of["sum_us"] / 1e6)

    def describe(self) -> list[Metric]:
        """Names nothing beforehand: that would cost a call to the node."""
        return []

    def _seller(self, status: JsonObject) -> list[Metric]:
        found = read_as(SellerStatus, status)
        meters, sessions = found.meters, found.sessions
        delivered = CounterMetricFamily("satmeter_meter_delivered_ticks", "What the meter counted.", labels=["meter"])
        state = GaugeMetricFamily("satmeter_meter_state", "1 for the state that it is in.", labels=["meter", "state"])
        tariff = InfoMetricFamily("satmeter_meter_tariff", "Unit and price.", labels=["meter"])
        for meter in meters:
            delivered.add_metric([meter.name], meter.count)
            for each in STATES:
                state.add_metric([meter.name, each], meter.state == each)
            tariff.add_metric([meter.name], {term: str(getattr(meter.tariff, term)) for term in TERMS})
        live = GaugeMetricFamily("satmeter_sessions", "Live sessions.", value=len(sessions))
        lost = sum(each.amount_msat for each in found.unowned)
        unowned = GaugeMetricFamily("satmeter_unowned_msat", "Payments that nobody is known to have made.", value=lost)
        gauges = [_by_meter(gauge, meters) for gauge in METER]
        return [
            delivered,
            state,
            tariff,
            *gauges,
            live,
            unowned,
            *_sums("sessions", SESSIONS, sessions),
            *self._earned(meters),
        ]

    def _earned(self, meters: list[MeterStatus]) -> list[Metric]:
        if self.clock() >= self._sold_at + TOTALS_S:
            self._sold = {meter.name: self._total(meter.name) for meter in meters}
            self._sold_at = self.clock()
        made: list[Metric] = []
        for each, about in SOLD.items():
            family = GaugeMetricFamily(f"satmeter_meter_sold_{each}", about, labels=["meter"])
            for name, sums in self._sold.items():
                family.add_metric([name], sums[each])
            made.append(family)
        return made

    def _total(self, meter: str) -> dict[str, int]:
        lines = self.node.call("meter-totals", name=meter)["totals"]
        return {each: sum(int(line[each]) for line in lines) for each in SOLD}

    def _buyer(self, status: JsonObject) -> list[Metric]:
        streams = read_as(BuyerStatus, status).streams
        live = GaugeMetricFamily("satmeter_streams", "Streams that the node has.", value=len(streams))
        refused = GaugeMetricFamily(
            "satmeter_streams_refused", "Invoices that live streams refused.", labels=["reason"]
        )
        reasons = Counter(str(each.evidence.get("error", "other")) for stream in streams for each in stream.refusals)
        for reason, count in reasons.items():
            refused.add_metric([reason], count)
        return [live, refused, *_sums("streams", STREAMS, streams)]


def _by_meter(gauge: Gauge[MeterStatus], meters: Sequence[MeterStatus]) -> Metric:
    family = GaugeMetricFamily(f"satmeter_meter_{gauge.name}", gauge.about, labels=["meter"])
    for meter in meters:
        family.add_metric([meter.name], gauge.of(meter))
    return family


def _sums(what: str, gauges: Sequence[Gauge[Of]], rows: Sequence[Of]) -> list[Metric]:
    def one(gauge: Gauge[Of]) -> Metric:
        return GaugeMetricFamily(f"satmeter_{what}_{gauge.name}", gauge.about, value=sum(map(gauge.of, rows)))

    return [one(gauge) for gauge in gauges]

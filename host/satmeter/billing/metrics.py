"""Metrics for Prometheus.

Amounts and counts come from the database at each scrape, so that all workers give the same figures.
Each worker counts its own requests; prometheus_client's multiprocess mode adds them up."""

import os
import time
from collections.abc import Callable, Iterator

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from .database import Database
from .shared_metrics import SHARED
from .tables import EVENT, HOOK, INVOICE, PAYMENT, TOKEN

REQUESTS = Counter("satmeter_requests", "Requests answered, by route and status.", ["method", "route", "status"])
SECONDS = Histogram("satmeter_request_seconds", "Time to an answer's first byte, by route.", ["route"])

SLOW_S = 0.2

Figures = dict[tuple[str, str], dict[str, int]]
"""(name, label) -> value of the label -> figure."""


class _Stored(Collector):
    def __init__(self, sources: list[Callable[[], Figures]]):
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        for source in self._sources:
            for (name, label), values in source().items():
                family = GaugeMetricFamily(f"satmeter_{name}", ABOUT[name], labels=[label])
                for value, figure in sorted(values.items()):
                    family.add_metric([value], figure)
                yield family

    def describe(self) -> list[Metric]:
        return []


ABOUT = {
    "invoices": "Invoices, by whether they are paid.",
    "received_msat": "What was received for invoices, by how it was paid.",
    "payments": "Payments made for clients and accounts, by status.",
    "webhooks": "Webhooks, by state.",
    "events": "Events on record, by kind.",
    "token_uses": "Uses of hash tokens, bought and spent.",
    "accounts_msat": "The hub's books, by account; users' together.",
}


class Metrics:
    """The figures of the service. The market adds those of its accounts to `sources`."""

    def __init__(self, database: Database):
        self._database = database
        self.sources: list[Callable[[], Figures]] = [self._kept]
        self._figures: Figures = {}
        self._good_until = 0.0

    def text(self) -> bytes:
        """Return the exposition that Prometheus reads."""
        registry = CollectorRegistry()
        registry.register(_Stored(self.sources))
        if os.environ.get(SHARED):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(REQUESTS)
            registry.register(SECONDS)
        return generate_latest(registry)

    def _kept(self) -> Figures:
        """Returns the figures from the database, and keeps them for a while where counting is slow.

        After a count that took t s, with t over SLOW_S (0.2), the figures are kept for 20 t. So a large
        database spends at most a twentieth of its time on counting."""
        began = time.monotonic()
        if began >= self._good_until:
            self._figures = self._stored()
            took = time.monotonic() - began
            self._good_until = time.monotonic() + (20 * took if took > SLOW_S else 0)
        return self._figures

    def _stored(self) -> Figures:
        one = sa.func.count()
        paid = sa.case((INVOICE.c.pay_index.is_not(None), "paid"), else_="unpaid")
        how = sa.case((INVOICE.c.pay_index > 0, "lightning"), else_="account")
        received = sa.select(how, sa.func.sum(INVOICE.c.msatoshi_received)).where(INVOICE.c.pay_index.is_not(None))
        with self._database.reading() as db:

            def grouped(query: "sa.Select[str, int]", column: sa.ColumnElement[str]) -> dict[str, int]:
                return {str(name): int(count or 0) for name, count in db.execute(query.group_by(column)).tuples()}

            bought, spent = (
                int(db.execute(sa.select(sa.func.sum(each))).scalar() or 0) for each in (TOKEN.c.uses, TOKEN.c.spent)
            )
            return {
                ("invoices", "status"): grouped(sa.select(paid, one), paid),
                ("received_msat", "by"): grouped(received, how),
                ("payments", "status"): grouped(sa.select(PAYMENT.c.status, one), PAYMENT.c.status),
                ("webhooks", "state"): grouped(sa.select(HOOK.c.state, one), HOOK.c.state),
                ("events", "kind"): grouped(sa.select(EVENT.c.kind, one), EVENT.c.kind),
                ("token_uses", "is"): {"bought": bought, "spent": spent},
            }

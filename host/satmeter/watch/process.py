"""Figures of a process that has no plugin to ask (a bridge, the pages): each is looked up at the scrape."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Samples = Iterable[tuple[str, float]]
"""(what its label says, value); "" where it has no label."""


@dataclass(frozen=True, slots=True)
class Look:
    """One figure, by its name; `label` names what its samples differ in, "" for a single one."""

    name: str
    about: str
    label: str
    of: Callable[[], Samples]


@dataclass(frozen=True, slots=True, eq=False)
class ProcessFigures(Collector):
    """Collects the figures of this process."""

    looks: tuple[Look, ...]

    def collect(self) -> Iterator[Metric]:
        """Yields the figures of now."""
        for look in self.looks:
            family = GaugeMetricFamily(look.name, look.about, labels=[look.label] if look.label else [])
            for label, value in look.of():
                family.add_metric([label] if look.label else [], value)
            yield family

    def describe(self) -> list[Metric]:
        """Names nothing beforehand."""
        return []

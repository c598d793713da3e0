"""What a bridge of devices says of itself to Prometheus: of each meter's outlet, not of money, which its node knows."""

from collections.abc import Callable, Sequence

from ..watch.process import Look, ProcessFigures
from .outlet import Outlet


def figures(outlets: Sequence[Outlet]) -> ProcessFigures:
    """Return the figures of a bridge's outlets."""

    def each(of: Callable[[Outlet], float]) -> list[tuple[str, float]]:
        return [(outlet.meter, of(outlet)) for outlet in outlets]

    return ProcessFigures(
        (
            Look(
                "satmeter_bridge_reading_age_seconds",
                "How long ago the newest reading of the device was taken.",
                "meter",
                lambda: each(lambda outlet: outlet.reading_age_s),
            ),
            Look(
                "satmeter_bridge_trouble",
                "Whether the device can't be read or switched as it should.",
                "meter",
                lambda: each(lambda outlet: bool(outlet.trouble)),
            ),
            Look(
                "satmeter_bridge_valve_open",
                "Whether the valve may be open.",
                "meter",
                lambda: each(lambda outlet: outlet.open),
            ),
            Look(
                "satmeter_bridge_overshoot_ticks",
                "What may flow beyond a grant at most, by what the device was seen to do.",
                "meter",
                lambda: each(lambda outlet: outlet.overshoot),
            ),
        )
    )

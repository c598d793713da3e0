"""What the pages say of themselves to Prometheus; a module of its own, since it needs the extra `metrics`."""

from collections.abc import Callable, Sequence

from ..watch.process import Look, ProcessFigures, Samples
from .layout import Panel
from .poller import BuyerView, Feed, SellerView

AnyFeed = Feed[SellerView] | Feed[BuyerView]


def figures(panels: Sequence[Panel]) -> ProcessFigures:
    """Return what the pages say of themselves to Prometheus; a site's name stands before the side."""
    sides: dict[str, AnyFeed] = {
        f"{panel.site} {side}".strip(): feed
        for panel in panels
        for side, feed in (("sell", panel.sell), ("buy", panel.buy))
    }

    def each(of: Callable[[AnyFeed], float]) -> Samples:
        return [(side, of(feed)) for side, feed in sides.items()]

    return ProcessFigures(
        (
            Look("satmeter_panel_pages", "Pages that are open.", "side", lambda: each(lambda feed: feed.pages)),
            Look(
                "satmeter_panel_trouble",
                "Whether open pages can't show what the node says now.",
                "side",
                lambda: each(lambda feed: bool(feed.pages and feed.trouble and not feed.missing)),
            ),
        )
    )

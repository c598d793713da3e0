"""`satmeter serve`: the billing service."""

from .billing import Where
from .failing import failing


def serve(config: Where = None) -> None:
    """Run the billing service until Ctrl-C."""
    with failing("billing"):
        from ..billing import logs
        from ..billing.config import load

        given = load(config)
        logs.begin()
        if given.workers > 1:  # before the library that counts is imported
            from ..billing.shared_metrics import share_between_workers

            share_between_workers()
        from .. import site

        site.serve(given, config)

"""Where several workers put what they count, so that whichever is asked for metrics tells of all of them."""

import os
import tempfile

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's name for it, looked at when that library is imported."""


def share_between_workers() -> None:
    """To be called in the process that starts the workers, before prometheus_client is first imported."""
    os.environ.setdefault(SHARED, tempfile.mkdtemp(prefix="satmeter-metrics-"))

"""The bench starts, and measures what it is asked for. What it measures is nothing for a test."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_figure_that_is_asked_for_is_measured_alone():
    here = Path(__file__).parent
    command, environment = (
        [sys.executable, str(here), "emulated", "covered"],
        {**os.environ, "PYTHONPATH": str(here.parent)},
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    *_, empty, figure = done.stdout.splitlines()
    assert empty == "" and figure.startswith("an HTLC looked at, against parsed")

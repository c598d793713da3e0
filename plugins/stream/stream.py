#!/usr/bin/env python3
"""The satmeter stream plugin for Core Lightning: a shim over satmeter.cln.stream, installed or of this checkout."""

import os
import sys

checkout = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
try:
    import pyln.client  # noqa: F401
    import sqlalchemy  # noqa: F401
except ImportError:
    python = os.path.join(checkout, ".venv", "bin", "python")
    if sys.executable == python or not os.path.exists(python):
        sys.exit("satmeter: run 'make venv' in its checkout, or install the package for this python3")
    os.execv(python, [python, *sys.argv])
if os.path.isdir(os.path.join(checkout, "host", "satmeter")):
    sys.path.insert(0, os.path.join(checkout, "host"))

from satmeter.cln.stream import main  # noqa: E402

main()

#!/usr/bin/env python3
"""The satmeter meter plugin for Core Lightning: a shim over satmeter.plugin.meter, installed or of this checkout."""

import importlib.util
import os
import sys

checkout = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
NEEDED = ("pyln", "coincurve", "embit", "sqlalchemy", "msgspec")
if not all(importlib.util.find_spec(name) for name in NEEDED):
    # Its own environment: of the checkout, or of the pip that put this file into share/satmeter.
    places = (os.path.join(checkout, ".venv"), os.path.dirname(os.path.dirname(checkout)))
    pythons = [os.path.join(place, "bin", "python") for place in places]
    python = next((p for p in pythons if os.path.exists(p)), sys.executable)
    if sys.executable == python:
        version = ".".join(str(n) for n in sys.version_info[:2])
        sys.exit(
            f"satmeter: its packages are not there for Python {version}; run 'make venv' in its checkout "
            "(after an upgrade of Python, too), or install its wheel again"
        )
    os.execv(python, [python, *sys.argv])
if os.path.isdir(os.path.join(checkout, "host", "satmeter")):
    sys.path.insert(0, os.path.join(checkout, "host"))

from satmeter.node.slim import import_sqlalchemy_lean  # noqa: E402

import_sqlalchemy_lean()

from satmeter.plugin.meter import main  # noqa: E402

main()

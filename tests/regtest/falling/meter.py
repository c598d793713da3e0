#!/usr/bin/env python3
"""The meter plugin, which falls dead once at the place that the file `fall` beside its journal names."""

import falling

from satmeter.plugin import meter

falling.prepare(meter.MeterPlugin)
meter.main()

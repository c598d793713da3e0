#!/usr/bin/env python3
"""The stream plugin, which falls dead once at the place that the file `fall` beside its journal names."""

import falling

from satmeter.plugin import stream

falling.prepare(stream.StreamPlugin)
stream.main()

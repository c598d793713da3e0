"""Satmeter: devices sell and buy metered resources from each other over the Lightning Network."""

__version__ = "0.1.0"

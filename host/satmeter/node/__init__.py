"""A client of a Core Lightning node: what plugins, bridge, pages and services use of it."""

from pathlib import Path

DEFAULT_SOCKET = Path("~/.lightning/bitcoin/lightning-rpc")
"""Where lightningd listens on mainnet when nothing else is configured."""

"""Freezes the port's own modules and asyncio into the image, as in the official build.

Neither the network modules nor aioble are in it."""

# What is frozen into the image: the port's own modules and asyncio, as in the official build; no network, no aioble.
freeze("$(PORT_DIR)/modules")  # noqa: F821
include("$(MPY_DIR)/extmod/asyncio")  # noqa: F821

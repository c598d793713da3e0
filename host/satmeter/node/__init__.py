"""A client of a Core Lightning node: what plugins, bridge, pages and services use of it."""

#!/usr/bin/env python3
"""A plugin whose one method does nothing: what meter-report is measured against."""

from pyln.client import Plugin

plugin = Plugin()


@plugin.method("empty")
def empty(plugin, **kwargs):
    return {}


plugin.run()

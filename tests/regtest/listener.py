#!/usr/bin/env python3
"""A plugin that writes down the notifications of ours that it hears, one JSON line each."""

import json
import os

from pyln.client import Plugin

plugin = Plugin(autopatch=False)
OUT = os.path.join(os.getcwd(), "heard.jsonl")


def listener(topic):
    def hear(plugin, **params):
        with open(OUT, "a") as out:
            out.write(json.dumps({"topic": topic, "payload": params.get(topic, params)}) + "\n")

    return hear


for topic in ("meter_low", "meter_state", "meter_closed"):
    plugin.add_subscription(topic, listener(topic))
plugin.run()

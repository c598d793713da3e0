#!/usr/bin/env python3
"""A plugin that thinks about every payment of an invoice for a while, on a node of either kind."""

import threading

from pyln.client import Plugin

plugin = Plugin()
plugin.add_option("slow-ms", "2000", "how long it thinks")


@plugin.async_hook("invoice_payment")
def payment(payment, request, plugin, **kwargs):
    think_s = int(plugin.get_option("slow-ms")) / 1000
    threading.Timer(think_s, request.set_result, [{"result": "continue"}]).start()


plugin.run()

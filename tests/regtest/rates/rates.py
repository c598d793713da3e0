#!/usr/bin/env python3
"""A node's currencyrate without the Internet: EUR as the file `eur` in its directory says, no other."""

from pathlib import Path

from pyln.client import Plugin, RpcException

plugin = Plugin()


@plugin.method("currencyrate")
def currencyrate(plugin, currency, **kwargs):
    if currency != "EUR":
        raise RpcException(f"no results for {currency}")
    return {"rate": float(Path("eur").read_text())}


plugin.run()

#!/usr/bin/env python3
"""Faults on demand for a real node, by the methods that an emulated one has: payments that fail, or that hang."""

import threading

from pyln.client import Plugin

plugin = Plugin()
lock = threading.Lock()
left = {"fail": 0, "hang": 0, "hold": 0}
hanging, held = [], []
UNKNOWN_DETAILS = "400f" + "00" * 12


@plugin.method("emulate-fault")
def fault(plugin, fail=0, hang=0, hold=0, **kwargs):
    """Make the next {fail} payments fail, the next {hang} hang until emulate-release, {hold} parts wait to be told."""
    with lock:
        left.update(fail=int(fail), hang=int(hang), hold=int(hold))
    return dict(left)


@plugin.method("emulate-release")
def release(plugin, **kwargs):
    """Let go of the payments that hang."""
    with lock:
        going, hanging[:] = list(hanging), []
    for request in going:
        request.set_result({"result": "continue"})
    return {"released": len(going)}


@plugin.method("emulate-held")
def list_held(plugin, **kwargs):
    """Return the amounts of the parts that are held, the one that came first in front."""
    with lock:
        return {"held": [amount for amount, _ in held]}


@plugin.method("emulate-part")
def part(plugin, n, answer, preimage="", **kwargs):
    """Let go of held part {n}: continue, fail, or resolve with a {preimage}, whatever the invoice says."""
    with lock:
        _, request = held.pop(int(n))
    more = {"resolve": {"payment_key": preimage}, "fail": {"failure_message": UNKNOWN_DETAILS}}
    request.set_result({"result": answer, **more.get(answer, {})})
    return {}


def accepted(onion, htlc, request, plugin, **kwargs):
    final = "short_channel_id" not in onion
    with lock:
        if final and left["fail"]:
            left["fail"] -= 1
            answer = {"result": "fail", "failure_message": "2002"}  # temporary_node_failure
        elif final and left["hang"]:
            left["hang"] -= 1
            hanging.append(request)
            return
        elif final and left["hold"]:
            left["hold"] -= 1
            held.append((int(htlc["amount_msat"]), request))
            return
        else:
            answer = {"result": "continue"}
    request.set_result(answer)


# Before our plugin, which would take a payment that fails here for one that goes on.
plugin.add_hook("htlc_accepted", accepted, background=True, before=["meter.py"])
plugin.run()

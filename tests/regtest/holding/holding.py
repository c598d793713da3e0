#!/usr/bin/env python3
"""Faults on demand for a real node, by the methods that an emulated one has: payments that fail, or that hang."""

import threading

from pyln.client import Plugin

plugin = Plugin()
lock = threading.Lock()
left = {"fail": 0, "hang": 0}
held = []


@plugin.method("emulate-fault")
def fault(plugin, fail=0, hang=0, **kwargs):
    """Make the next {fail} payments fail, the next {hang} hang until emulate-release."""
    with lock:
        left.update(fail=int(fail), hang=int(hang))
    return dict(left)


@plugin.method("emulate-release")
def release(plugin, **kwargs):
    """Let go of the payments that hang."""
    with lock:
        going, held[:] = list(held), []
    for request in going:
        request.set_result({"result": "continue"})
    return {"released": len(going)}


@plugin.async_hook("htlc_accepted")
def accepted(onion, htlc, request, plugin, **kwargs):
    final = "forward_msat" not in onion or "short_channel_id" not in onion
    with lock:
        if final and left["fail"]:
            left["fail"] -= 1
            answer = {"result": "fail", "failure_message": "2002"}  # temporary_node_failure
        elif final and left["hang"]:
            left["hang"] -= 1
            held.append(request)
            return
        else:
            answer = {"result": "continue"}
    request.set_result(answer)


plugin.run()

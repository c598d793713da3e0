"""Places at which a plugin can be made to fall dead: kill -9 from within, at exactly that line."""

import os
import signal
from pathlib import Path

from satmeter.core.buyer import events as buying
from satmeter.core.seller import events as selling
from satmeter.node import payments
from satmeter.node import rpc as node
from satmeter.plugin import runtime

FALL = Path("fall")
"""In the node's directory, which is a plugin's working directory."""


def at(place):
    try:
        asked = FALL.read_text() == place
    except OSError:
        return
    if asked:
        FALL.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def after(cls, name, place, when=lambda *args: True):
    """Fall at `place` when a method has returned; before the caller has what it returned."""
    method = getattr(cls, name)

    def falling(self, *args, **kwargs):
        result = method(self, *args, **kwargs)
        if when(*args):
            at(place)
        return result

    setattr(cls, name, falling)


def prepare(plugin):
    if hasattr(plugin, "_invoice_payment"):
        hook = plugin._invoice_payment

        def in_the_hook(self, payment, plugin, **kwargs):
            at("in the hook")
            answer = hook(self, payment, plugin=plugin, **kwargs)
            at("after the hook")
            return answer

        plugin._invoice_payment = in_the_hook
    commit = runtime.Runtime._commit

    def committing(self):
        kinds = {type(e) for e in self._held}
        done = commit(self)
        if selling.InvoicePaid in kinds:
            at("credited, not acted on")
        if selling.InvoiceAsked in kinds:
            at("asked for, not made")
        if buying.PaymentStarted in kinds:
            at("between commit and payment")
        if selling.RefundStarted in kinds:
            at("between commit and refund")
        return done

    runtime.Runtime._commit = committing
    after(node.Node, "invoice", "invoice made, not told")
    after(node.Node, "next_paid", "payment seen, not credited")
    after(node.Node, "call", "sent, not waited for", lambda method, *_: method == "sendpay")
    after(payments.Payments, "_tried", "paid, not booked")

"""A session with its events and its signed receipt, as an audit reads them."""

import json

import pytest
from world import SESSION, World

from satmeter.core import commands as cmd
from satmeter.core.journal import encode


@pytest.fixture(scope="module")
def sold():
    """A session of 40 ticks of which 60 were paid back, and its events as meter-history lists them."""
    w = World()
    w.open()
    w.report(40)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    text = [e for e in w.seller_events if e.kind() == "receipt_signed"][-1].text
    events = [
        {"kind": e.kind(), "at": e.at, "data": encode(e)}
        for e in w.seller_events
        if e.subject == SESSION and e.kind() != "receipt_signed"
    ]
    return text, events


def changed(text, **fields):
    return json.dumps({**json.loads(text), **fields}, sort_keys=True, separators=(",", ":"))

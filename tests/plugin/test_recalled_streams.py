"""A stream that memory has no more is folded anew from the journal, as long as the journal has all of it."""

from types import SimpleNamespace

import pytest

from satmeter.core import commands as cmd
from satmeter.core.buyer.buyer import Buyer
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url
from satmeter.plugin.stream import StreamPlugin

BUYER, SELLER, SESSION = "02" + "bb" * 32, "02" + "aa" * 32, "5e" * 16
POLICY = {"max_price_msat": 1_000, "budget_msat": 1_000_000, "unit": "unit"}


@pytest.mark.parametrize("deleted", [0, 1])
def test_a_stream_whose_first_event_was_deleted_is_not_recalled(deleted, tmp_path):
    buyer = Buyer()
    opened = cmd.OpenStream(session=SESSION, seller=SELLER, meter="m", address="h:1", policy=POLICY)
    events = [*buyer.handle(opened, 10**12).events]
    events += buyer.handle(cmd.ConnectFailed(peer=SELLER, why="nobody answers"), 10**12).events
    journal = Journal(sqlite_url(tmp_path / "journal.sqlite3"), "stream", BUYER)
    journal.commit(events[deleted:])
    plugin = StreamPlugin()
    plugin.runtime = SimpleNamespace(journal=journal)
    found = plugin._recall(SESSION)
    assert (found and (found.state, found.seller)) == (None if deleted else ("closed", SELLER))

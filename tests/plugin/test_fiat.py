"""The rate of a currency is recorded with its time, exactly, and trouble is said once."""

import logging
import time
from decimal import Decimal

import pytest

from satmeter.core.errors import BadParam
from satmeter.journal.rates import MOST_MS
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url
from satmeter.plugin.fiat import Recorder, currency


class Node:
    rate = "50000.25"

    def call(self, method, currency):
        return {"rate": self.rate}


def test_a_recorded_rate_is_found_for_what_is_sold_now(tmp_path):
    journal = Journal(sqlite_url(tmp_path / "j"), "meter", "02" + "aa" * 32)
    assert Recorder(Node(), "EUR", "currencyrate", lambda: journal).record()
    now = int(time.time() * 1000)
    found = journal.rates(0, 0).at(now)
    assert (found.currency, found.per_btc, found.source) == ("EUR", Decimal("50000.25"), "currencyrate")
    assert now - 60_000 < found.at <= now and journal.rates(0, 0).at(now + MOST_MS + 60_000) is None
    journal.close()


def test_trouble_is_said_once_until_it_is_over(tmp_path, caplog):
    node, journal = Node(), Journal(sqlite_url(tmp_path / "j"), "meter", "02" + "aa" * 32)
    recorder = Recorder(node, "EUR", "currencyrate", lambda: journal)
    with caplog.at_level(logging.WARNING):
        for node.rate in ("none", "none", "50000", "none"):
            recorder.record()
    assert len(caplog.messages) == 2
    assert not Recorder(Node(), "EUR", "currencyrate", lambda: None).record()  # while the journal is away
    journal.close()


def test_a_currency_is_three_letters_in_either_case():
    assert (currency("meter-fiat", "eur"), currency("meter-fiat", "")) == ("EUR", "")
    for given in ("EURO", "€", "E1R", "eu", "ÄÖÜ"):
        with pytest.raises(BadParam, match="meter-fiat: must be a currency's three letters"):
            currency("meter-fiat", given)

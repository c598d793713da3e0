"""Sums over receipts: what went from session to session never left, and what nobody paid is not earned.

1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import csv
import io
import json
from decimal import Decimal

from world import ARREARS, OTHER, World, unrefunded

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.journal.rates import Rates, StoredRate
from satmeter.plugin import totals
from satmeter.plugin.history_rpc import _csv

NEWEST = (
    "paid_msat",
    "charged_msat",
    "earned_msat",
    "refunded_msat",
    "carried_in_msat",
    "carried_on_msat",
    "debt_msat",
)


def rows(w):
    """The newest receipt of each session, as meter-sessions lists them."""
    newest = {stated["session"]: stated for stated in w.receipts()}
    return [
        {
            **dict.fromkeys(("id", "meter", "peer", "reason"), ""),
            "opened_at": each["opened_at"],
            "closed_at": each["closed_at"],
            "receipt": json.dumps(each),
        }
        for each in newest.values()
    ]


def sums(w, rates=None):
    (line,) = totals.of(rows(w), "month", rates or Rates([]))
    return line


def figures(line):
    return {name: line[name] for name in NEWEST}


def test_what_one_session_left_and_the_next_one_used_is_counted_once():
    w = unrefunded()  # 3,000 of 10,000 msat were used
    w.open(session=OTHER)
    w.report(60)
    w.channel_can_refund = True
    w.buy(cmd.CloseStream(session=OTHER))
    w.pump()
    line = figures(sums(w))
    assert (line["carried_in_msat"], line["carried_on_msat"]) == (7_000, 7_000)
    assert line["paid_msat"] - line["carried_in_msat"] == sum(w.paid_by_buyer.values()) == 10_000
    assert line["refunded_msat"] - line["carried_on_msat"] == sum(w.refunds.values()) == 4_000
    assert line["earned_msat"] == line["charged_msat"] == w.balance == 6_000


def in_debt():
    """A session in arrears that used 250 ticks, and paid 100 of them."""
    w = World(ARREARS)
    w.open()
    w.report(100)
    w.hold = {do.Pay}
    w.report(250)
    w.pass_ms(200_000, step=5_000)
    return w


def test_a_debt_that_nobody_paid_is_charged_and_not_earned():
    w = in_debt()
    line = figures(sums(w))
    assert (line["charged_msat"], line["earned_msat"], line["debt_msat"]) == (25_000, 10_000, 15_000)
    assert w.balance == line["earned_msat"]


def test_what_was_earned_is_told_in_money_too():
    w = in_debt()
    rate = StoredRate(w.now - 3_600_000, "EUR", Decimal(100_000), "a test")
    line = sums(w, Rates([rate]))
    assert (Decimal(line["fiat"]["EUR"]["charged"]), Decimal(line["fiat"]["EUR"]["earned"])) == (
        Decimal("0.0250"),
        Decimal("0.0100"),
    )


def test_csv_says_what_was_carried_and_earned():
    w = unrefunded()
    w.open(session=OTHER)
    w.buy(cmd.CloseStream(session=OTHER))
    w.pump()
    first, second = csv.DictReader(io.StringIO(_csv(rows(w), Rates([]))))
    assert (first["carried_on_msat"], first["carried_in_msat"], first["earned_msat"]) == ("7000", "0", "3000")
    assert (second["carried_on_msat"], second["carried_in_msat"], second["earned_msat"]) == ("0", "7000", "0")

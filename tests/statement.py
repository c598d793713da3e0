"""A receipt's text with some figures, and nothing else in it: nobody signed it."""

from satmeter.core.journal import canonical
from satmeter.core.receipt import FORMAT

NOTHING = {
    "format": FORMAT,
    "session": "5e" * 16,
    "revision": 1,
    "seller": "02" + "aa" * 32,
    "buyer": "02" + "bb" * 32,
    "meter": "m",
    "tariff": {},
    "reason": "closed",
    "head": "00" * 32,
    **dict.fromkeys(("opened_at", "closed_at", "ticks", "payments"), 0),
    **dict.fromkeys(("paid_msat", "carried_in_msat", "charged_msat", "spent_msat", "refunded_msat"), 0),
    **dict.fromkeys(("refund_fee_msat", "lapsed_msat", "owed_msat", "debt_msat"), 0),
}


def statement(**stated):
    return canonical({**NOTHING, **stated})

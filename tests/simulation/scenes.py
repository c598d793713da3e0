"""Scenes: plans of few happenings, made so that one kind of mistake has to show. The seed still chooses the terms and
every chance.

A scene is a function from a plan to a plan; None where the plan's terms do not suit it.
"""

from dataclasses import replace

from plan import Happening
from tricks import CLAIMS_AFTER_THE_CLOSE

FORGES_RECEIPTS, ASKS_AGAIN = 0, 8
"""Tricks of a hostile seller."""


def whatever(plan):
    """The seed's own plan."""
    return plan


def scene(*happenings, mode="", hostile="", onchain=False, refund_fee=None, small=False, **terms):
    """small: the quantum is of one slice of one unit."""

    def stage(plan):
        if (plan.tariff.get("settlement") == "onchain") != onchain:
            return None
        tariff = plan.tariff | terms | ({"mode": mode} if mode else {})
        if small:
            tariff["quantum_msat"] = tariff["window"] * tariff["price_msat"]
        if mode == "arrears":
            tariff.setdefault("limit_msat", tariff["quantum_msat"])
        elif mode:
            tariff.pop("limit_msat", None)
        begin = plan.happenings[:3]
        staged = (*begin, *sorted((Happening(*h) for h in happenings), key=lambda h: h.at))
        fee = plan.refund_fee if refund_fee is None else refund_fee
        return replace(plan, tariff=tariff, hostile=hostile, refund_fee=fee, happenings=staged)

    return stage


def _weather(at, on, lasts, how):
    return (at, "weather", {"on": on, "lasts": lasts, "how": how})


def _crash(at, who):
    return (at, "crash", {"who": who, "left": 3, "down": 50})


def _journal(at, who):
    return (at, "journal", {"who": who, "lasts": 1_500})


def _trick(at, trick, dice):
    return (at, "seller", {"trick": trick, "dice": dice})


CRASHES = scene(_crash(3_000, "seller"), _crash(5_000, "seller"), (7_000, "away", {"dice": 3}))
PAID_WHILE_AWAY = scene(*[(2_000 + 3_000 * k, "away", {"dice": 7 * k + 1}) for k in range(6)])
REFUND_IN_PARTS = scene(
    _weather(4_000, "refunds", 12_000, "parts"),
    (5_000, "close"),
    *[_crash(5_000 + 400 * k, "seller") for k in range(6)],
    mode="prepaid",
)
DEAR_REFUNDS = scene((3_000, "close"), refund_fee=1_700, mode="prepaid")
CLAIMS = scene((9_000, "close"), _trick(9_005, CLAIMS_AFTER_THE_CLOSE, 5), hostile="seller", mode="arrears")
THE_SAME_INVOICE_AGAIN = scene(*[_trick(2_000 + 2_000 * k, ASKS_AGAIN, k) for k in range(6)], hostile="seller")
FORGED_RECEIPT = scene((6_000, "close"), _trick(6_003, FORGES_RECEIPTS, 0), hostile="seller", mode="prepaid")
LINE_CUT_AS_SESSIONS_BEGIN = scene(
    *[(3_900 + 5_000 * k, "flow", {"percent": 0}) for k in range(5)],
    *[(4_000 + 5_000 * k, "close") for k in range(5)],
    *[_weather(4_600 + 5_000 * k, "line", 2_500, "cut") for k in range(5)],
    *[(4_650 + 5_000 * k, "open") for k in range(5)],
    *[_weather(4_800 + 5_000 * k, "pays", 4_200, "fail") for k in range(5)],
    *[(4_900 + 5_000 * k, "flow", {"percent": 100}) for k in range(5)],
    allowance_ticks=100,
    lockout_s=0,
    mode="prepaid",
    small=True,
)
"""Each session's board draws of its allowance before it is heard: all of them together get one allowance, no more."""
ALLOWANCE_IN_HAND = scene(
    _weather(420, "line", 8_000, "cut down"),
    _weather(1_000, "pays", 28_000, "fail"),
    allowance_ticks=100,
    mode="prepaid",
    small=True,
)
"""A board does not hear that a session began, and goes on with its allowance; nothing more is paid."""
JOURNALS_BREAK = scene(
    *[_journal(2_000 + 3_000 * k, ("seller", "buyer")[k % 2]) for k in range(8)],
    (24_000, "close"),
)
STUCK = scene((5_000, "close"), (4_500, "fees", {"times": 4, "lasts": 40_000}), onchain=True)
TAKEN_BACK = scene(
    (3_000, "close"),
    *[
        (at, what, args)
        for k in range(4)
        for at, what, args in (
            (5_900 + 2_500 * k, "reorganise", {}),
            (6_000 + 2_500 * k, "steal", {"dice": k}),
        )
    ],
    onchain=True,
    hostile="buyer",
    confirmations=1,
)
BURIED = scene((3_000, "close"), onchain=True, confirmations=3)
OLD_READINGS = scene(
    *[(3_000 + 4_000 * k, "reboot", {"keep": True}) for k in range(5)],
    *[(5_000 + 4_000 * k, "stale", {"dice": k}) for k in range(5)],
)
SPENT_SINCE = scene(
    (6_000, "close"),
    (7_500, "older", {"keep": 60}),
    *[(9_000 + 500 * k, "buyer", {"trick": 1, "dice": k}) for k in range(12)],
    (20_000, "plug"),
    mode="prepaid",
    hostile="buyer",
)
SOLD_SINCE = scene((6_000, "close"), (7_500, "older", {"keep": 0}), mode="prepaid")
BACK = scene(
    (3_000, "close"),
    (4_000, "wallet", {"share": 100}),
    (4_500, "offer", {"share": 50}),
    (13_000, "unplug"),
    _weather(13_000, "refunds", 14_000, "hang"),
    (16_500, "back", {"whole": False}),
    *[_crash(16_600 + 700 * k, "seller") for k in range(4)],
    (17_000, "wallet", {"share": 100}),
    (20_000, "back", {"whole": True}),
    mode="prepaid",
)
OFFER_LOST = scene(
    (2_000, "close"),
    (9_000, "crash", {"who": "seller", "left": 1, "down": 8_000}),
    (9_001, "offer", {"share": 100}),
    mode="prepaid",
)
"""The seller dies as its offer is made, which is paid while it is away."""
GUESSED = scene(
    (2_000, "close"),
    *[
        (at + 4_000 * k, what, args)
        for k in range(5)
        for at, what, args in ((5_000, "guess", {}), (6_500, "wallet", {"share": 50}))
    ],
    mode="prepaid",
)
"""A buyer chooses the id that a wallet's session will have."""
EVERY = (
    GUESSED,
    BACK,
    OFFER_LOST,
    SPENT_SINCE,
    SOLD_SINCE,
    STUCK,
    TAKEN_BACK,
    BURIED,
    OLD_READINGS,
    CRASHES,
    PAID_WHILE_AWAY,
    REFUND_IN_PARTS,
    DEAR_REFUNDS,
    CLAIMS,
    THE_SAME_INVOICE_AGAIN,
    FORGED_RECEIPT,
    LINE_CUT_AS_SESSIONS_BEGIN,
    ALLOWANCE_IN_HAND,
    JOURNALS_BREAK,
)

"""Which files are money code, and which tests may notice a change of them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "host" / "satmeter"
HOOK = Path(__file__).resolve().parent / "hook"
BUILD = ROOT / "build" / "mutants"

MONEY = (
    "core/**/*.py",
    "wire/**/*.py",
    "chain/**/*.py",
    "node/payments.py",
    "gate/**/*.py",
    "plugin/meter.py",
    "plugin/offer_effects.py",
    "plugin/refund_payments.py",
    "plugin/stream.py",
    "plugin/covered.py",
    "plugin/executor.py",
    "plugin/onchain_buyer.py",
    "plugin/onchain_seller.py",
    "plugin/last_known.py",
    "billing/outgoing_payments.py",
    "billing/payment_follower.py",
    "billing/rates.py",
    "billing/tokens.py",
    "scan/*.py",
    "market/ledger.py",
    "market/withdrawals.py",
    "market/alarms.py",
)
QUICK = (
    "core",
    "wire",
    "chain",
    "journal",
    "node",
    "plugin",
    "scan",
    "market/test_ledger.py",
    "billing/test_amounts_in_money.py",
    "billing/test_payment_follower.py",
    "billing/test_outgoing_payments.py",
    "billing/test_spending.py",
    "billing/test_hash_tokens.py",
    "gate/test_billing_client.py",
)
"""Tests that run in one process: which lines each of them reaches is measured."""

SERVED = {
    "gate/": ("gate/test_gate.py", "gate/test_upstreams.py", "gate/test_omi.py", "gate/test_credit.py"),
    "billing/outgoing_payments.py": ("gate/test_credit.py", "gate/test_gate.py"),
    "node/payments.py": ("regtest/test_payments.py",),
    "plugin/meter.py": (
        "regtest/test_trade.py",
        "regtest/test_refund_kills.py",
        "regtest/test_kiosk.py",
        "regtest/test_journals.py",
        "regtest/test_standing_offers.py",
        "regtest/test_accounts.py",
    ),
    "plugin/onchain_buyer.py": ("regtest/test_onchain.py",),
    "plugin/onchain_seller.py": ("regtest/test_onchain.py",),
    "scan/": ("regtest/test_scanning.py",),
    "plugin/stream.py": ("regtest/test_trade.py", "regtest/test_bounds.py", "regtest/test_bridge.py"),
    "billing/tokens.py": ("gate/test_gate.py", "gate/test_lost_answers.py", "billing/test_webapi.py"),
    "market/withdrawals.py": ("market/test_market.py",),
}
"""Tests that start plugins and services as processes of their own; they come last, and only for these modules."""

NOT_HERE = ("[real", "-real]", "[postgresql", "test_architecture.py")
"""Tests of other lanes, and those that read the sources: they see no mutant."""


def money() -> list[str]:
    """Return the files that are mutated, relative to host/satmeter."""
    return sorted({str(p.relative_to(SOURCE)) for pattern in MONEY for p in SOURCE.glob(pattern)})


def served(file: str) -> list[str]:
    return [f"tests/{test}" for start, tests in SERVED.items() if file.startswith(start) for test in tests]

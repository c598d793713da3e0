"""What an amount may be by each way of settlement, and what is at risk by it."""

import pytest
from growing import FEE, STEP, TARIFF, Wallet

from satmeter.core.buyer.views import stream_status
from satmeter.core.settlement.rules import rules_of
from satmeter.core.tariff import Tariff

HOLD = TARIFF["hold_msat"]
"""Ten steps."""


@pytest.mark.parametrize(
    ("held", "unconfirmed", "amount"),
    [
        (0, 0, STEP * 1000),
        (HOLD - 1_500_000, 0, 1_500_000),  # what is left of the transaction's maximum
        (HOLD - 1_500_999, 0, 1_500_000),  # whole sat
        (0, 4 * HOLD - 1_500_000, 1_500_000),  # what is left beside others that are not confirmed
        (HOLD, 0, 0),
        (0, 4 * HOLD - 545_000, 0),  # no dust, unless beside what is held
        (STEP * 1000, 4 * HOLD - STEP * 1000 - 545_000, 545_000),
    ],
)
def test_an_amount_fits_into_the_transaction_and_beside_what_is_not_confirmed(held, unconfirmed, amount):
    tariff = Tariff.from_dict({**TARIFF, "unconfirmed_msat": 4 * HOLD})
    assert rules_of(tariff).fitting_msat(tariff, STEP * 1000, held, unconfirmed) == amount


def test_on_chain_a_step_that_a_seller_denies_and_two_fees_are_at_risk_beside_a_quantum():
    w = Wallet()
    assert stream_status(w.purchase).exposure_bound_msat == 2 * STEP * 1000
    w.ask(STEP)
    assert stream_status(w.purchase).exposure_bound_msat == (2 * STEP + 2 * FEE) * 1000

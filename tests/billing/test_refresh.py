"""A used-up token is renewed: at the rate of now where its price was quoted in a currency."""

from dataclasses import replace
from decimal import Decimal

import pytest

from satmeter.billing.config import Config
from satmeter.billing.container import Container
from satmeter.billing.rates import quoted
from satmeter.billing.routes.tokens import _renewed
from satmeter.billing.tokens import Use
from satmeter.core.errors import BadParam


def test_what_was_quoted_in_a_currency_costs_what_it_costs_now(net, tmp_path):
    rpc = net["seller"].lightning_dir / "lightning-rpc"
    config = Config(rpc=rpc, database=f"sqlite:///{tmp_path}/billing", rates={"EUR": Decimal(50_000)})
    opened = Container(config)
    opened.follower.begin()
    row = opened.invoices.make("shop", 2_000, services=("/a",), quoted=("EUR", "0.001"))
    net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})
    assert opened.follower.catch_up(row)
    token = opened.tokens.issue(opened.invoices.find(row["id"]), ("/a",))
    assert opened.spend([Use("hash", token, ("/a",))]) == [True]
    opened.config = replace(config, rates={"EUR": Decimal(25_000)})
    asked = _renewed(opened, token, "", ask=True)
    assert (asked["msatoshi"], asked["quoted_currency"], asked["quoted_amount"]) == (4_000, "EUR", "0.001")
    opened.config = replace(config, rates={})
    assert _renewed(opened, token, "", ask=True)["msatoshi"] == 2_000  # as before, where there is no rate any more
    opened.hub.stop()


@pytest.mark.parametrize("amount", ["0." + "1" * 31, "1" * 33, "1e-40"])
def test_a_quote_is_kept_whole_or_refused(amount):
    with pytest.raises(BadParam, match="at most 32 characters"):
        quoted(Decimal(amount))

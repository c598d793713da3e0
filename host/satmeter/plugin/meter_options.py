"""The options of the seller's plugin: declared to lightningd, and read once as it starts the plugin."""

from dataclasses import dataclass

from pyln.client import Plugin

from ..core.money import whole
from ..core.seller.context import Limits
from ..core.settlement.transaction import FEERATE_MOST
from ..wire.address import endpoint
from ..wire.lnurl import check_base
from . import fiat
from .onchain_seller import Bitcoind
from .params import journal_name

REMAINDER_OWN_MS = 600_000  # more than refunds.FIRST_MS: who paid little has a time of its own, too
"""How long what is left of a bearer's money is that bearer's alone, where there is a page that gives it back."""


@dataclass(frozen=True, slots=True)
class MeterOptions:
    """What an operator has chosen: `feerate` in sat per 1,000 weight units, 0 for the node's estimate."""

    address: str
    """HOST:PORT at which buyers reach the node; "" for what the node announces."""
    url: str
    """Where wallets find the pages of the meters; "" for nowhere."""
    forgotten: frozenset[str]
    """Names of lost journals, beside which another may begin."""
    limits: Limits
    currency: str
    bitcoind: Bitcoind | None
    feerate: int


def add(plugin: Plugin) -> None:
    """Declare the options."""
    plugin.add_option(
        "meter-address", "", "HOST:PORT at which buyers reach this node, for the QR; else what it announces"
    )
    plugin.add_option(
        "meter-url",
        "",
        "https://HOST of the public pages of this node's meters (satmeter serve): boards then show a code that "
        "pays back what is left",
    )
    plugin.add_option("meter-silent-s", "15", "seconds after which a board that was not heard counts as silent")
    plugin.add_option("meter-unheard-s", "600", "seconds after which an ending session with a silent board is charged")
    plugin.add_option(
        "meter-forget-journal",
        None,
        "name of a lost journal, so that a new journal may begin; may be repeated",
        multi=True,
    )
    plugin.add_option("meter-max-meters", "1000", "most meters")
    plugin.add_option("meter-max-sessions", "2000", "most live sessions")
    plugin.add_option("meter-max-sessions-per-peer", "50", "most live sessions of one buyer")
    plugin.add_option(
        "meter-refund-maxfee-msat",
        "2000",
        "highest fee that a refund bears, in msat; a hundredth of the refund if that is more",
    )
    plugin.add_option(
        "meter-feerate", "0", "on-chain: sat per 1,000 weight units that updates have to pay; 0: as estimated"
    )
    plugin.add_option("meter-bump-blocks", "6", "on-chain: blocks after which a child pays for a stuck transaction")
    plugin.add_option(
        "meter-bitcoind-rpc", "", "on-chain: http://USER:PASSWORD@HOST:PORT of a bitcoind to try updates on"
    )
    plugin.add_option(
        "meter-fiat", "", "a currency, such as EUR: its rate is recorded, for sums in money (CLN 26.04 and later)"
    )


def read(plugin: Plugin) -> MeterOptions:
    """Returns the options; raises BadParam that names the one that is wrong. Asks nobody."""

    def text(name: str) -> str:
        return str(plugin.get_option(name) or "")

    def number(name: str, low: int, high: int) -> int:
        return whole(name, plugin.get_option(name), low, high)

    given = plugin.get_option("meter-forget-journal") or []
    forgotten = [given] if isinstance(given, str) else [str(each) for each in given]
    address, url = text("meter-address"), text("meter-url")
    bitcoind = text("meter-bitcoind-rpc")
    url = check_base("meter-url", url) if url else ""
    return MeterOptions(
        address=endpoint("meter-address", address) if address else "",
        url=url,
        forgotten=frozenset(journal_name("meter-forget-journal", each) for each in forgotten),
        limits=Limits(
            remainder_own_ms=REMAINDER_OWN_MS if url else 0,
            meters=number("meter-max-meters", 1, 100_000),
            sessions=number("meter-max-sessions", 1, 100_000),
            sessions_per_peer=number("meter-max-sessions-per-peer", 1, 100_000),
            bump_blocks=number("meter-bump-blocks", 1, 1000),
            unheard_ms=number("meter-unheard-s", 1, 86400) * 1000,
            silent_ms=number("meter-silent-s", 1, 3600) * 1000,
            refund_maxfee_msat=number("meter-refund-maxfee-msat", 0, 10**9),
        ),
        currency=fiat.currency("meter-fiat", text("meter-fiat")),
        bitcoind=Bitcoind(bitcoind) if bitcoind else None,
        feerate=number("meter-feerate", 0, FEERATE_MOST),
    )

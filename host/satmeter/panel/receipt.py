"""Receipts, the same on both sides: the figures of a closed session, and whether its seller's node has signed them."""

from nicegui import ui

from ..core.plain import JsonObject
from ..core.receipt import OnchainSum, Sum, read
from ..formatting import duration, visible
from ..wire.signature import verify
from .amounts import Money

FIGURES: dict[Sum, str] = {
    "paid_msat": "paid",
    "charged_msat": "charged",
    "refunded_msat": "refunded",
    "owed_msat": "still owed",
    "lapsed_msat": "lapsed",
    "debt_msat": "debt",
}

ONCHAIN: dict[OnchainSum, str] = {
    "fee_msat": "on-chain fee, paid by the buyer",
    "basic_fee_msat": "… with a transaction for each payment",
    "single_fee_msat": "… with growing transactions",
    "lost_msat": "lost to a double spend",
}


def signed(row: JsonObject) -> bool:
    """Return whether a receipt bears the signature of the seller whom it names."""
    receipt = read(row["receipt"])
    return receipt is not None and verify(row["receipt"], row["signature"], receipt["seller"])


def show(row: JsonObject, money: Money, good: bool) -> None:
    """Draw a receipt: row as in meter-sessions or stream-receipts."""
    receipt = read(row["receipt"])
    if receipt is None:
        return
    with ui.element("article").classes("receipt") as article:
        article.props["data-session"] = str(row["id"])  # never by text to be parsed: a receipt is a stranger's
        badge = "signature checked" if good else "signature NOT valid"
        ui.label(badge).classes("state good" if good else "state bad")
        ui.label(visible(f"meter {receipt['meter']}, ended: {receipt['reason']}")).classes("title")
        with ui.element("table"):
            _line("used", f"{receipt['ticks']:,} ticks")
            for key, name in FIGURES.items():
                if receipt[key] or key in ("paid_msat", "charged_msat", "refunded_msat"):
                    _line(name, money(receipt[key]), key)
            _line("payments", f"{receipt['payments']:,}")
            for part, name in ONCHAIN.items() if "onchain" in receipt else ():
                if receipt["onchain"][part] or part != "lost_msat":
                    _line(name, money(receipt["onchain"][part]), f"onchain_{part}")
            for txid in receipt["onchain"]["txids"][-3:] if "onchain" in receipt else ():
                _line("transaction", txid)
            _line("lasted", duration(max(0, receipt["closed_at"] - receipt["opened_at"]) // 1000))
            _line("session", receipt["session"])
            _line("seller", receipt["seller"])
            _line("buyer", receipt["buyer"] or "a wallet")
            _line("events' hash", receipt["head"], "head")


def _line(name: str, text: str, key: str = "") -> None:
    with ui.element("tr"):
        with ui.element("th"):
            ui.label(name)
        with ui.element("td").props(f"data-figure={key}" if key else ""):
            ui.label(visible(text))

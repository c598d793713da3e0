"""Rows of the market's tables, as queries return them. A test holds them to tables.py, which says more."""

from typing import TypedDict


class OfferRow(TypedDict):
    """A service that a seller publishes. Amounts in msat; times in seconds since 1970."""

    id: str
    seller: str
    service: str
    node_url: str
    description: str
    words: str
    msatoshi: int
    uses: int
    checked: str
    shown: bool
    created_at: int
    stars: int
    ratings: int


class NamedOfferRow(OfferRow):
    """The same with its seller's name."""

    seller_name: str


class BillRow(TypedDict):
    """What an invoice of ours is for: `kind` is order or deposit."""

    invoice: str
    user: str
    kind: str


class HoldRow(TypedDict):
    """Money in msat that a user's account has set aside for an invoice of ours."""

    invoice: str
    user: str
    msat: int


class PurchaseRow(TypedDict):
    """A service bought once. Amounts in msat; times in seconds since 1970; paid_at 0: not paid."""

    id: str
    invoice: str
    user: str
    seller: str
    offer: str
    service: str
    node_url: str
    msatoshi: int
    fee: int
    uses: int
    sealed: str
    renew_msat: int
    renewed_by: str
    stars: int
    created_at: int
    paid_at: int
    renew_day_msat: int
    chain: str


class SpentPurchaseRow(PurchaseRow):
    """The same with how many of its token's uses are spent."""

    spent: int

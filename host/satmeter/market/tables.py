"""The tables of accounts and market, in the billing service's database.

Amounts are in msat, times in seconds since 1970. Passwords and login cookies are stored as hashes.
Hash tokens are encrypted with a secret of the node."""

import sqlalchemy as sa

from ..billing.tables import META, SERIAL

USER = sa.Table(
    "market_user",
    META,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("name", sa.String(30), nullable=False, unique=True),
    sa.Column("password", sa.Text),
    sa.Column("issuer", sa.String(200)),
    sa.Column("subject", sa.String(255)),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("issuer", "subject", name="market_user_openid"),
)

LOGIN = sa.Table(
    "market_login",
    META,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("user", sa.String(24), nullable=False, index=True),
    sa.Column("until", sa.BigInteger, nullable=False),
)

ACCOUNT = sa.Table(
    "market_account",
    META,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("balance", sa.BigInteger, nullable=False),
    sa.CheckConstraint("balance >= 0 OR name NOT LIKE 'user/%'", name="market_account_never_negative"),
)
"""user/ID: owed to a user. node: what the node's channels hold of it, as a negative. paying: on its way out. hub: the
hub's own income. The sum of all is 0."""

TRANSFER = sa.Table(
    "market_transfer",
    META,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("about", sa.String(80), nullable=False, index=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

ENTRY = sa.Table(
    "market_entry",
    META,
    sa.Column("transfer", sa.BigInteger, primary_key=True),
    sa.Column("account", sa.String(40), primary_key=True),
    sa.Column("msat", sa.BigInteger, nullable=False),
    sa.Index("market_entry_of", "account", "transfer"),
)

OFFER = sa.Table(
    "market_offer",
    META,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("seller", sa.String(24), nullable=False, index=True),
    sa.Column("service", sa.String(200), nullable=False),
    sa.Column("node_url", sa.String(500), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("msatoshi", sa.BigInteger, nullable=False),
    sa.Column("uses", sa.BigInteger, nullable=False),
    sa.Column("checked", sa.String(200), nullable=False),
    sa.Column("shown", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("stars", sa.BigInteger, nullable=False),
    sa.Column("ratings", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("seller", "service", name="market_offer_one"),
)
"""words: what is searched, in lower case. stars: the sum of `ratings` ratings, 1 to 5 each."""

CART = sa.Table(
    "market_cart",
    META,
    sa.Column("user", sa.String(24), primary_key=True),
    sa.Column("offer", sa.String(24), primary_key=True),
)

BILL = sa.Table(
    "market_bill",
    META,
    sa.Column("invoice", sa.String(32), primary_key=True),
    sa.Column("user", sa.String(24), nullable=False, index=True),
    sa.Column("kind", sa.String(10), nullable=False),
)
"""What an invoice of ours is for: an order of purchases, or a deposit to the user's account."""

HOLD = sa.Table(
    "market_hold",
    META,
    sa.Column("invoice", sa.String(32), primary_key=True),
    sa.Column("user", sa.String(24), nullable=False),
    sa.Column("msat", sa.BigInteger, nullable=False),
)
"""Invoices of ours that a user's account is paying: the money is set aside, and wallets are being shut out."""

PURCHASE = sa.Table(
    "market_purchase",
    META,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("invoice", sa.String(32), nullable=False, index=True),
    sa.Column("user", sa.String(24), nullable=False),
    sa.Column("seller", sa.String(24), nullable=False),
    sa.Column("offer", sa.String(24), nullable=False, index=True),
    sa.Column("service", sa.String(200), nullable=False),
    sa.Column("node_url", sa.String(500), nullable=False),
    sa.Column("msatoshi", sa.BigInteger, nullable=False),
    sa.Column("fee", sa.BigInteger, nullable=False),
    sa.Column("uses", sa.BigInteger, nullable=False),
    sa.Column("sealed", sa.Text, nullable=False),
    sa.Column("renew_msat", sa.BigInteger, nullable=False),
    sa.Column("renewed_by", sa.String(32), nullable=False),
    sa.Column("stars", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("paid_at", sa.BigInteger, nullable=False),
    sa.Column("renew_day_msat", sa.BigInteger, nullable=False),
    sa.Column("chain", sa.String(32), nullable=False, index=True),
    sa.Index("market_purchase_of", "user", "created_at"),
)
"""A service bought once, at the price of then. Its id is what its token and its service stand under. renew_msat: what
it may still be renewed for from the buyer's account in all, renew_day_msat: in any 24 hours; renewed_by: the purchase
that followed; chain: the one that was bought by hand, from which renewals led here."""

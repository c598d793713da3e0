"""The tables of the billing service. Amounts in msat, times in seconds since 1970; secrets and tokens stand hashed.

Their history is in migrations/; a test holds the two together.
"""

import sqlalchemy as sa

META = sa.MetaData()

ABOUT = sa.Table(
    "billing_about",
    META,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""node_id; pay_index: the newest payment of the node that was looked at."""

SECRET = sa.Table(
    "billing_secret",
    META,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("scopes", sa.String(120), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("revoked_at", sa.BigInteger, nullable=False),
    sa.Column("old_hash", sa.String(64), nullable=False, index=True),
    sa.Column("old_until", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)
"""A client's api-token, and the one before it, which is good until `old_until`; expires_at 0: never."""

INVOICE = sa.Table(
    "billing_invoice",
    META,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("client", sa.String(40), nullable=False),
    sa.Column("msatoshi", sa.BigInteger),
    sa.Column("msatoshi_received", sa.BigInteger),
    sa.Column("quoted_currency", sa.String(8)),
    sa.Column("quoted_amount", sa.String(32)),
    sa.Column("rhash", sa.String(64), nullable=False, index=True),
    sa.Column("payreq", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("pay_index", sa.BigInteger),
    sa.Column("paid_at", sa.BigInteger),
    sa.Column("uses", sa.BigInteger, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("redirect_url", sa.Text, nullable=False, server_default=""),
)

SERVICE = sa.Table(
    "billing_invoice_service",
    META,
    sa.Column("invoice", sa.String(32), primary_key=True),
    sa.Column("service", sa.String(200), primary_key=True),
)
"""Which services an invoice is for."""

TOKEN = sa.Table(
    "billing_token",
    META,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("invoice", sa.String(32), nullable=False, unique=True),
    sa.Column("uses", sa.BigInteger, nullable=False),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("client", sa.String(40), nullable=False),
)
"""Proofs of payment: how many uses were bought, how many of them are spent, and who sold them. `invoice` is an
invoice's id, or a purchase's in the market."""

PAYMENT = sa.Table(
    "billing_payment",
    META,
    sa.Column("rhash", sa.String(64), primary_key=True),
    sa.Column("client", sa.String(40), nullable=False),
    sa.Column("payreq", sa.Text, nullable=False),
    sa.Column("msatoshi", sa.BigInteger, nullable=False),
    sa.Column("maxfee", sa.BigInteger, nullable=False),
    sa.Column("status", sa.String(10), nullable=False, index=True),
    sa.Column("sent", sa.BigInteger, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("done_at", sa.BigInteger, nullable=False),
    sa.Column("fee", sa.BigInteger, nullable=False),
    sa.Column("worker", sa.String(32), nullable=False),
    sa.Column("lease_until", sa.BigInteger, nullable=False),
)
"""Payments made for clients: pending (recorded before it is sent), complete, failed, or alarm (settled over another
amount than was asked: `why` says which, and a person has to look). sent: what left the node, in all parts and with
fees. fee: the hub's, of an account's payment. worker: who sends it, as long as its lease lasts;
of an alarm that a person ended, "a person"."""

HOOK = sa.Table(
    "billing_hook",
    META,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("invoice", sa.String(32), nullable=False, index=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("tries", sa.BigInteger, nullable=False),
    sa.Column("next_at", sa.BigInteger, nullable=False),
    sa.Column("said", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("event", sa.BigInteger),
    sa.Column("client", sa.String(40), nullable=False),
    sa.Column("subscription", sa.String(32), nullable=False),
    sa.Index("billing_hook_due", "state", "next_at"),
)
"""Webhooks, of an invoice or (by a subscription) of an event: waiting (for the payment), due, done, or dead (kept until
somebody replays them)."""

ONCE = sa.Table(
    "billing_once",
    META,
    sa.Column("client", sa.String(40), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("ref", sa.String(32), nullable=False),
    sa.Column("status", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False, index=True),
)
"""Idempotency keys: what was asked, under which id it is done, and what was answered (status 0: not yet)."""

SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""SQLite counts by itself in INTEGER columns only."""

EVENT = sa.Table(
    "billing_event",
    META,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(120), nullable=False, unique=True),
    sa.Column("client", sa.String(40), nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Index("billing_event_of", "client", "id"),
    sqlite_autoincrement=True,
)
"""What happened, in the order of ids: paid, low, closed. client "": of the node's meters."""

SUBSCRIPTION = sa.Table(
    "billing_subscription",
    META,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("client", sa.String(40), nullable=False, index=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("kinds", sa.String(40), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
"""Webhooks for every event of some kinds, rather than for one invoice."""

PLEDGE = sa.Table(
    "billing_pledge",
    META,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False, index=True),
)
"""Pledges by the SHA-256 of their lines, until they are over: msat spent under each."""

PLEDGE_USE = sa.Table(
    "billing_pledge_use",
    META,
    sa.Column("id", sa.String(100), primary_key=True),
    sa.Column("pledge", sa.String(64), nullable=False, index=True),
    sa.Column("msat", sa.BigInteger, nullable=False),
)
"""What was counted under a pledge, by the session and the gate's own id."""

"""Events and webhooks for them; who sold a token; accounts, and the market."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Adds events, accounts and market, workers' leases on payments, and the seller of each token."""
    op.add_column("billing_hook", sa.Column("event", sa.BigInteger))
    op.add_column("billing_payment", sa.Column("fee", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("billing_payment", sa.Column("worker", sa.String(32), nullable=False, server_default=""))
    op.add_column("billing_payment", sa.Column("lease_until", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("billing_token", sa.Column("client", sa.String(40), nullable=False, server_default=""))
    sold = "SELECT client FROM billing_invoice WHERE billing_invoice.id = billing_token.invoice"
    op.execute(f"UPDATE billing_token SET client = COALESCE(({sold}), '')")
    _events()
    _accounts()
    _market()


def _events() -> None:
    op.create_table(
        "billing_event",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(120), nullable=False, unique=True),
        sa.Column("client", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("billing_event_of", "billing_event", ["client", "id"])
    op.create_table(
        "billing_subscription",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("client", sa.String(40), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("kinds", sa.String(40), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_billing_subscription_client", "billing_subscription", ["client"])


def _accounts() -> None:
    op.create_table(
        "market_user",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("name", sa.String(30), nullable=False, unique=True),
        sa.Column("password", sa.Text),
        sa.Column("issuer", sa.String(200)),
        sa.Column("subject", sa.String(255)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("issuer", "subject", name="market_user_openid"),
    )
    op.create_table(
        "market_login",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("user", sa.String(24), nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_market_login_user", "market_login", ["user"])
    op.create_table(
        "market_account",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("balance", sa.BigInteger, nullable=False),
        sa.CheckConstraint("balance >= 0 OR name NOT LIKE 'user/%'", name="market_account_never_negative"),
    )
    op.create_table(
        "market_transfer",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("about", sa.String(80), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_market_transfer_about", "market_transfer", ["about"])
    op.create_table(
        "market_entry",
        sa.Column("transfer", sa.BigInteger, primary_key=True),
        sa.Column("account", sa.String(40), primary_key=True),
        sa.Column("msat", sa.BigInteger, nullable=False),
    )
    op.create_index("market_entry_of", "market_entry", ["account", "transfer"])
    op.create_table(
        "market_bill",
        sa.Column("invoice", sa.String(32), primary_key=True),
        sa.Column("user", sa.String(24), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
    )
    op.create_index("ix_market_bill_user", "market_bill", ["user"])
    op.create_table(
        "market_hold",
        sa.Column("invoice", sa.String(32), primary_key=True),
        sa.Column("user", sa.String(24), nullable=False),
        sa.Column("msat", sa.BigInteger, nullable=False),
    )


def _market() -> None:
    op.create_table(
        "market_offer",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("seller", sa.String(24), nullable=False),
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
    op.create_index("ix_market_offer_seller", "market_offer", ["seller"])
    op.create_table(
        "market_cart",
        sa.Column("user", sa.String(24), primary_key=True),
        sa.Column("offer", sa.String(24), primary_key=True),
    )
    op.create_table(
        "market_purchase",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("invoice", sa.String(32), nullable=False),
        sa.Column("user", sa.String(24), nullable=False),
        sa.Column("seller", sa.String(24), nullable=False),
        sa.Column("offer", sa.String(24), nullable=False),
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
    )
    op.create_index("ix_market_purchase_invoice", "market_purchase", ["invoice"])
    op.create_index("ix_market_purchase_offer", "market_purchase", ["offer"])
    op.create_index("market_purchase_of", "market_purchase", ["user", "created_at"])

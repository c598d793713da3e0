"""The first tables: secrets, invoices and their services, tokens, payments, hooks, idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the first tables of the billing service."""
    op.create_table(
        "billing_about",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "billing_hook",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("invoice", sa.String(32), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("tries", sa.BigInteger, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.Column("said", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("billing_hook_due", "billing_hook", ["state", "next_at"])
    op.create_index("ix_billing_hook_invoice", "billing_hook", ["invoice"])
    op.create_table(
        "billing_invoice",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("client", sa.String(40), nullable=False),
        sa.Column("msatoshi", sa.BigInteger),
        sa.Column("msatoshi_received", sa.BigInteger),
        sa.Column("quoted_currency", sa.String(8)),
        sa.Column("quoted_amount", sa.String(32)),
        sa.Column("rhash", sa.String(64), nullable=False),
        sa.Column("payreq", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("pay_index", sa.BigInteger),
        sa.Column("paid_at", sa.BigInteger),
        sa.Column("uses", sa.BigInteger, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
    )
    op.create_index("ix_billing_invoice_created_at", "billing_invoice", ["created_at"])
    op.create_index("ix_billing_invoice_rhash", "billing_invoice", ["rhash"])
    op.create_table(
        "billing_invoice_service",
        sa.Column("invoice", sa.String(32), primary_key=True),
        sa.Column("service", sa.String(200), primary_key=True),
    )
    op.create_table(
        "billing_once",
        sa.Column("client", sa.String(40), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("ref", sa.String(32), nullable=False),
        sa.Column("status", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "billing_payment",
        sa.Column("rhash", sa.String(64), primary_key=True),
        sa.Column("client", sa.String(40), nullable=False),
        sa.Column("payreq", sa.Text, nullable=False),
        sa.Column("msatoshi", sa.BigInteger, nullable=False),
        sa.Column("maxfee", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("sent", sa.BigInteger, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("done_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_billing_payment_status", "billing_payment", ["status"])
    op.create_table(
        "billing_secret",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("scopes", sa.String(120), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "billing_token",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("invoice", sa.String(32), nullable=False, unique=True),
        sa.Column("uses", sa.BigInteger, nullable=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )

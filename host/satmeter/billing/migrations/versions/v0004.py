"""Pledges, and what was spent under each."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the tables of pledges and of the uses under each pledge."""
    op.create_table(
        "billing_pledge",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_billing_pledge_until", "billing_pledge", ["until"])
    op.create_table(
        "billing_pledge_use",
        sa.Column("id", sa.String(100), primary_key=True),
        sa.Column("pledge", sa.String(64), nullable=False),
        sa.Column("msat", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_billing_pledge_use_pledge", "billing_pledge_use", ["pledge"])

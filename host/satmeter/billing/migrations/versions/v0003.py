"""What a token's renewal may cost in a day, and which purchases renewed one another."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

DAYS_RENEWALS = 10


def upgrade() -> None:
    """Adds the renewal limit of a day (for allowed renewals ten times the price) and renewal chains."""
    op.add_column("market_purchase", sa.Column("renew_day_msat", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("market_purchase", sa.Column("chain", sa.String(32), nullable=False, server_default=""))
    op.create_index("ix_market_purchase_chain", "market_purchase", ["chain"])
    op.execute(f"UPDATE market_purchase SET renew_day_msat = {DAYS_RENEWALS} * msatoshi WHERE renew_msat > 0")
    _chains()


def _chains() -> None:
    """Give each purchase the id of the one that was bought by hand, from which renewals led to it."""
    purchase = sa.table("market_purchase", sa.column("id"), sa.column("renewed_by"), sa.column("chain"))
    db = op.get_bind()
    after = {str(id): str(next_) for id, next_ in db.execute(sa.select(purchase.c.id, purchase.c.renewed_by))}
    for first in after.keys() - set(after.values()):
        id = first
        while id in after:
            db.execute(sa.update(purchase).where(purchase.c.id == id).values(chain=first))
            id = after[id]

"""An invoice may say where its payer goes on to from the checkout page."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Adds the URL where the checkout page leads after the payment of an invoice."""
    with op.batch_alter_table("billing_invoice") as invoice:
        invoice.add_column(sa.Column("redirect_url", sa.Text, nullable=False, server_default=""))

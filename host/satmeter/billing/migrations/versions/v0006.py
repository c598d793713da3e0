"""A client's secret may be replaced, with the earlier one good for a while, and may have an end."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the earlier secret of a client with its end, and the end of the present secret."""
    with op.batch_alter_table("billing_secret") as secret:
        secret.add_column(sa.Column("old_hash", sa.String(64), nullable=False, server_default=""))
        secret.add_column(sa.Column("old_until", sa.BigInteger, nullable=False, server_default="0"))
        secret.add_column(sa.Column("expires_at", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("ix_billing_secret_old_hash", "billing_secret", ["old_hash"])

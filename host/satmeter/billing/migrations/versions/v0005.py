"""Whose a webhook is, and of which subscription: each has a secret of its own, and none holds up the others."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds client and subscription to webhooks, and finds both for the rows that are there."""
    with op.batch_alter_table("billing_hook") as hook:
        hook.add_column(sa.Column("client", sa.String(40), nullable=False, server_default=""))
        hook.add_column(sa.Column("subscription", sa.String(32), nullable=False, server_default=""))
    op.execute(
        "UPDATE billing_hook SET client = coalesce("
        "(SELECT client FROM billing_invoice WHERE billing_invoice.id = billing_hook.invoice), "
        "(SELECT min(client) FROM billing_subscription WHERE billing_subscription.url = billing_hook.url), '')"
    )
    op.execute(
        "UPDATE billing_hook SET subscription = coalesce((SELECT min(id) FROM billing_subscription "
        "WHERE billing_subscription.url = billing_hook.url AND billing_subscription.client = billing_hook.client), '') "
        "WHERE event IS NOT NULL"
    )

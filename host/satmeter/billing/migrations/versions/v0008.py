"""What is kept of idempotency keys is found by its age: of uses there are many."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Adds an index of the keys by when they were made."""
    op.create_index("ix_billing_once_created_at", "billing_once", ["created_at"])

"""Runs the migrations on the connection that billing/database.py gives."""

from alembic import context

from satmeter.billing.tables import META

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=META,
    version_table="billing_version",
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

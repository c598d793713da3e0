"""The tables of a journal, and the form of what is in them."""

import sqlalchemy as sa

SCHEMA = 6
"""Raised whenever an older version could not read what this one writes."""
OLDEST = 6
"""No release was made with an earlier form of the events, so that none is read."""
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""A number that rows are found by. In SQLite an INTEGER is the row's own number: no index beside the table."""

META = sa.MetaData()
ABOUT = sa.Table(
    "satmeter_about", META, sa.Column("name", sa.String(40), primary_key=True), sa.Column("value", sa.Text)
)
EVENT = sa.Table(
    "satmeter_event",
    META,
    sa.Column("id", NUMBER, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("stream", sa.String(40), nullable=False),
    sa.Column("kind", sa.String(24), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Index("satmeter_event_stream", "stream", "id"),
)
SNAPSHOT = sa.Table(
    "satmeter_snapshot",
    META,
    sa.Column("upto", NUMBER, primary_key=True, autoincrement=False),
    sa.Column("state", sa.Text, nullable=False),
)
SESSION = sa.Table(
    "satmeter_session",
    META,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("opened_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("meter", sa.String(40), nullable=False),
    sa.Column("peer", sa.String(70), nullable=False),
    sa.Column("closed_at", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("receipt", sa.Text, nullable=False),
    sa.Column("signature", sa.Text, nullable=False),
    sa.Index("satmeter_session_meter", "meter", "opened_at"),
)


RATE = sa.Table(
    "satmeter_rate",
    META,
    sa.Column("at", NUMBER, primary_key=True, autoincrement=False),
    sa.Column("currency", sa.String(3), primary_key=True),
    sa.Column("per_btc", sa.String(40), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
)
TABLES = (ABOUT, EVENT, SNAPSHOT, SESSION, RATE)
MOVED, SET_BACK = "moved_to", "set_back"
"""In ABOUT: where the journal is now (move.py), and that times of the index were moved back."""

"""What the sellers of many sites are doing and have earned, read from where all of them are anyway.

That is a PostgreSQL with the journals of many plugins, a schema each, or a Prometheus that scrapes them. No node is
asked.
"""

import base64
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ..core.errors import BadParam, NodeTrouble, SatmeterError
from ..core.journal import decode
from ..core.plain import JsonObject
from ..core.seller.state import SellerState
from ..journal import store

ANSWER_S = 30
Labels = tuple[str, ...]


@dataclass(slots=True)
class MeterLine:
    """A meter: `heard` is whether its board was heard of late, None where the source does not know."""

    name: str
    state: str = ""
    heard: bool | None = None
    sessions: int = 0
    earned_msat: int = 0


@dataclass(slots=True)
class Site:
    """A seller, by its schema's name or what Prometheus calls it; `trouble` says why there is nothing to tell."""

    name: str
    trouble: str = ""
    owed_msat: int = 0
    """Owed to buyers, and not given back yet."""
    alarms: int = 0
    """Sessions that a person has to look at, and payments of which nobody knows the session."""
    meters: dict[str, MeterLine] = field(default_factory=dict)

    def meter(self, name: str) -> MeterLine:
        """Returns the line of a meter, a new one where there is none."""
        return self.meters.setdefault(name, MeterLine(name))


# --- journals


def of_database(url: str, since: int = 0, before: int = 0) -> list[Site]:
    """Return the sellers whose journals a database has, by the name of their schema.

    Args:
        url: The database; every schema that the user may read is looked at.
        since: From when on sessions count that were opened then (ms); 0: all.
        before: Until when; 0: all.

    Raises:
        BadParam: The URL is none of a PostgreSQL.
        JournalTrouble: The database can't be read.
    """
    if not url.startswith("postgresql"):
        raise BadParam("source: must be postgresql://USER@HOST/NAME, or http(s)://HOST of a Prometheus", param="source")
    store.check_url("source", url)
    sites: list[Site] = []
    try:
        made = store.engine(url)
        try:
            with made.connect() as db:
                for schema in sorted(sa.inspect(db).get_schema_names()):
                    if sa.inspect(db).has_table(store.ABOUT.name, schema=schema):
                        there = db.execution_options(schema_translate_map={None: schema})
                        sites += _of_schema(there, schema, since, before)
        finally:
            made.dispose()
    except (SQLAlchemyError, OSError, ImportError) as e:
        raise store.trouble(url, e) from e
    return sites


def _of_schema(db: sa.Connection, schema: str, since: int, before: int) -> Iterator[Site]:
    about = {row.name: row.value for row in db.execute(sa.select(store.ABOUT))}
    if about.get("role") != "meter" or store.MOVED in about:
        return
    site = Site(schema)
    if about.get("schema") != str(store.SCHEMA):
        site.trouble = f"its journal has schema {about.get('schema')}, and this version knows {store.SCHEMA}"
        yield site
        return
    try:
        state = _state(db)
    except SatmeterError as e:
        site.trouble = f"its journal can't be followed: {e}"
        yield site
        return
    for meter in state.meters.values():
        site.meter(meter.name).state = meter.state
    site.owed_msat = sum(session.owed_msat for session in state.sessions.values() if session.closed)
    site.alarms = sum(bool(session.alarm) for session in state.sessions.values()) + len(state.unowned)
    receipt = sa.cast(store.SESSION.c.receipt, sa.JSON)
    charged = sa.cast(receipt["charged_msat"].as_string(), sa.BigInteger)
    query = sa.select(store.SESSION.c.meter, sa.func.count(), sa.func.sum(charged)).where(store.SESSION.c.receipt != "")
    query = query.where(store.SESSION.c.opened_at >= since) if since else query
    query = query.where(store.SESSION.c.opened_at < before) if before else query
    for name, sessions, earned in db.execute(query.group_by(store.SESSION.c.meter)):
        line = site.meter(name)
        line.sessions, line.earned_msat = sessions, int(earned)
    yield site


def _state(db: sa.Connection) -> SellerState:
    """The newest snapshot, and the events after it, folded."""
    state, upto = SellerState(), 0
    row = db.execute(sa.select(store.SNAPSHOT).order_by(store.SNAPSHOT.c.upto.desc()).limit(1)).first()
    if row is not None:
        state.load(json.loads(row.state))
        upto = row.upto
    for event in db.execute(sa.select(store.EVENT).where(store.EVENT.c.id > upto).order_by(store.EVENT.c.id)):
        state.apply(decode(event.kind, event.at, event.stream, event.data))
    return state


# --- Prometheus


def of_prometheus(url: str) -> list[Site]:
    """Return the sellers that a Prometheus scrapes, by their label `instance`.

    Raises:
        BadParam: The URL is none.
        NodeTrouble: It does not answer, or something else does.
    """
    found: dict[str, Site] = {}

    def site(instance: str) -> Site:
        return found.setdefault(instance, Site(instance))

    for (instance,), up in _asked(url, 'satmeter_up{plugin="meter"}', "instance"):
        site(instance).trouble = "" if up else "its plugin does not answer"
    for (instance,), up in _asked(url, "up and on(instance, job) last_over_time(satmeter_up[1d])", "instance"):
        if not up:
            site(instance).trouble = "it can't be scraped"
    for (instance, meter, state), on in _asked(url, "satmeter_meter_state == 1", "instance", "meter", "state"):
        site(instance).meter(meter).state = state if on else ""
    for (instance, meter), heard in _asked(url, "satmeter_meter_heard", "instance", "meter"):
        site(instance).meter(meter).heard = bool(heard)
    for (instance, meter), sessions in _asked(url, "satmeter_meter_sold_sessions", "instance", "meter"):
        site(instance).meter(meter).sessions = sessions
    for (instance, meter), earned in _asked(url, "satmeter_meter_sold_charged_msat", "instance", "meter"):
        site(instance).meter(meter).earned_msat = earned
    for (instance,), owed in _asked(url, "satmeter_sessions_owed_msat", "instance"):
        site(instance).owed_msat = owed
    for (instance,), alarms in _asked(url, "satmeter_sessions_alarms", "instance"):
        site(instance).alarms = alarms
    return [found[name] for name in sorted(found)]


def _asked(url: str, query: str, *labels: str) -> Iterator[tuple[Labels, int]]:
    """Yields labels and value of each series that a query finds."""
    with _told(url) as (shown, headers):
        asked = f"{shown}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(urllib.request.Request(asked, headers=headers), timeout=ANSWER_S) as answer:
            rows: list[JsonObject] = json.load(answer)["data"]["result"]
        told = [
            (tuple(str(row["metric"].get(name, "")) for name in labels), int(float(row["value"][1]))) for row in rows
        ]
    yield from told


@contextmanager
def _told(url: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Gives a URL without its user, and that as a header; says an answer's errors in words."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadParam(f"source: must be http(s)://HOST of a Prometheus, got {url[:200]!r}", param="source")
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/"), query="", fragment="")
    user = f"{urllib.parse.unquote(parts.username or '')}:{urllib.parse.unquote(parts.password or '')}"
    headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if parts.username else {}
    try:
        yield shown.geturl(), headers
    except (OSError, ValueError, LookupError, TypeError) as e:
        raise NodeTrouble(f"{shown.geturl()} does not answer as a Prometheus does: {e or type(e).__name__}") from None

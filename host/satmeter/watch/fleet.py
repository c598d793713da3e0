"""What the sellers of many sites are doing and have earned, read from where all of them are anyway.

That is a PostgreSQL with the journals of many plugins, a schema each, or a Prometheus that scrapes them. No node is
asked.
"""

import base64
import http.client
import json
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ..core.errors import BadParam, NodeTrouble, SatmeterError
from ..core.plain import JsonObject
from ..core.seller.state import SellerState
from ..journal import tables
from ..journal.compaction import folded
from ..journal.engine import engine, trouble
from ..journal.store import newest
from ..journal.url import check_url

ANSWER_S, ANSWER_BYTES, PIECE = 30, 50_000_000, 65_536
NONSENSE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What an answer that is none of a Prometheus runs into."""
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
    """Sessions that a person has to look at; by a journal also payments of which nobody knows the session."""
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
    check_url("source", url)
    sites: list[Site] = []
    try:
        made = engine(url)
        try:
            with made.connect() as db:
                for schema in sorted(sa.inspect(db).get_schema_names()):
                    if sa.inspect(db).has_table(tables.ABOUT.name, schema=schema):
                        there = db.execution_options(schema_translate_map={None: schema})
                        try:
                            with db.begin_nested():
                                sites += _of_schema(there, schema, since, before)
                        except (SQLAlchemyError, SatmeterError, ValueError, TypeError, LookupError) as error:
                            cause = str(getattr(error, "orig", None) or error).splitlines()[:1]
                            sites.append(Site(schema, f"its journal can't be read: {''.join(cause)}"))
        finally:
            made.dispose()
    except (SQLAlchemyError, OSError, ImportError) as error:
        raise trouble(url, error) from error
    return sites


def _of_schema(db: sa.Connection, schema: str, since: int, before: int) -> Iterator[Site]:
    about = {row.name: row.value for row in db.execute(sa.select(tables.ABOUT))}
    if about.get("role") != "meter" or tables.MOVED in about:
        return
    site = Site(schema)
    if about.get("schema") != str(tables.SCHEMA):
        site.trouble = f"its journal has schema {about.get('schema')}, and this version knows {tables.SCHEMA}"
        yield site
        return
    snapshot, later = newest(db)
    state = folded(SellerState(), snapshot.state if snapshot is not None else None, later)
    for meter in state.meters.values():
        site.meter(meter.name).state = meter.state
    site.owed_msat = sum(session.owed_msat for session in state.sessions.values() if session.closed)
    site.alarms = sum(bool(session.alarm) for session in state.sessions.values()) + len(state.unowned)
    receipt = sa.cast(tables.SESSION.c.receipt, sa.JSON)
    charged, debt = (sa.cast(receipt[name].as_string(), sa.BigInteger) for name in ("charged_msat", "debt_msat"))
    query = sa.select(tables.SESSION.c.meter, sa.func.count(), sa.func.sum(charged - debt))
    query = query.where(tables.SESSION.c.receipt != "")
    query = query.where(tables.SESSION.c.opened_at >= since) if since else query
    query = query.where(tables.SESSION.c.opened_at < before) if before else query
    for name, sessions, earned in db.execute(query.group_by(tables.SESSION.c.meter)):
        line = site.meter(name)
        line.sessions, line.earned_msat = sessions, int(earned or 0)
    yield site


# --- Prometheus


def of_prometheus(url: str) -> list[Site]:
    """Return the sellers that a Prometheus scrapes: each pair of the labels `job` and `instance` is one.

    Raises:
        BadParam: The URL is none.
        NodeTrouble: It does not answer, or something else does.
    """
    found: dict[tuple[str, str], Site] = {}

    def site(job: str, instance: str) -> Site:
        return found.setdefault((instance, job), Site(instance))

    for (job, instance), up in _asked(url, 'satmeter_up{plugin="meter"}'):
        site(job, instance).trouble = "" if up else "its plugin does not answer"
    for (job, instance), up in _asked(url, "up and on(instance, job) last_over_time(satmeter_up[30d])"):
        if not up:
            site(job, instance).trouble = "it can't be scraped"
    for (job, instance, meter, state), on in _asked(url, "satmeter_meter_state == 1", "meter", "state"):
        site(job, instance).meter(meter).state = state if on else ""
    for (job, instance, meter), heard in _asked(url, "satmeter_meter_heard", "meter"):
        site(job, instance).meter(meter).heard = bool(heard)
    for (job, instance, meter), sessions in _asked(url, "satmeter_meter_sold_sessions", "meter"):
        site(job, instance).meter(meter).sessions = sessions
    for (job, instance, meter), earned in _asked(url, "satmeter_meter_sold_earned_msat", "meter"):
        site(job, instance).meter(meter).earned_msat = earned
    for (job, instance), owed in _asked(url, "satmeter_sessions_owed_msat"):
        site(job, instance).owed_msat = owed
    for (job, instance), alarms in _asked(url, "satmeter_sessions_alarms"):
        site(job, instance).alarms = alarms
    several = Counter(instance for instance, _ in found)
    for (instance, job), each in found.items():
        each.name = f"{job} {instance}" if several[instance] > 1 else instance
    return [found[key] for key in sorted(found)]


def _asked(url: str, query: str, *labels: str) -> Iterator[tuple[Labels, int]]:
    """Yields job, instance, the other labels, and the value of each series that a query finds."""
    with _told(url) as (shown, headers):
        asked = f"{shown}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        request = urllib.request.Request(asked)
        for name, value in headers.items():
            request.add_unredirected_header(name, value)  # of whoever it leads on to, nobody may learn it
        rows: list[JsonObject] = json.loads(_answer(request))["data"]["result"]
        names = ("job", "instance", *labels)
        told = [(tuple(row["metric"].get(name, "") for name in names), int(float(row["value"][1]))) for row in rows]
    yield from told


def _answer(request: urllib.request.Request) -> bytes:
    """Returns an answer; OSError for one that is not whole in ANSWER_S (30 s), or has more than ANSWER_BYTES."""
    ends_at, answer = time.monotonic() + ANSWER_S, b""
    with urllib.request.urlopen(request, timeout=ANSWER_S) as reading:
        while piece := reading.read1(PIECE):
            answer += piece
            if len(answer) > ANSWER_BYTES or time.monotonic() > ends_at:
                raise OSError(f"its answer has more than {ANSWER_BYTES:,} bytes, or takes longer than {ANSWER_S} s")
    return answer


@contextmanager
def _told(url: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Gives a URL without its user, and that as a header; says an answer's errors in words."""
    try:
        parts = urllib.parse.urlsplit(url)
        known = parts.port is None or parts.port >= 0
    except ValueError:
        known = False
    if not known or not url.isprintable() or " " in url or parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadParam(f"source: must be http(s)://HOST of a Prometheus, got {url[:200]!r}", param="source")
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/"), query="", fragment="")
    user = f"{urllib.parse.unquote(parts.username or '')}:{urllib.parse.unquote(parts.password or '')}"
    headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if parts.username else {}
    try:
        yield shown.geturl(), headers
    except (OSError, http.client.HTTPException, *NONSENSE) as error:
        raise NodeTrouble(
            f"{shown.geturl()} does not answer as a Prometheus does: {error or type(error).__name__}"
        ) from None

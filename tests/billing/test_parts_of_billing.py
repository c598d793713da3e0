"""The billing service's parts without HTTP: config, bodies, database, webhooks' addresses."""

import json
import time

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from billing import in_a_loop
from satmeter.billing import api_tokens as secrets_module
from satmeter.billing import config, tables
from satmeter.billing import errors as problem
from satmeter.billing import forms as body
from satmeter.billing import metrics as metrics_module
from satmeter.billing.api_tokens import ApiTokens
from satmeter.billing.database import Database
from satmeter.billing.events import Events, hook_row
from satmeter.billing.idempotency import IdempotencyKeys
from satmeter.billing.invoices import Invoices, check_description
from satmeter.billing.metrics import Metrics
from satmeter.billing.outgoing_payments import OutgoingPayments
from satmeter.billing.ssrf import Outward, check_url
from satmeter.billing.tables import ABOUT
from satmeter.billing.tokens import services_of
from satmeter.billing.webhooks import Webhooks
from satmeter.core.errors import BadParam, JournalTrouble, NameTaken, SatmeterError
from satmeter.journal.store import engine, sqlite_url
from satmeter.market.http import of_a_use
from satmeter.market.tables import META
from satmeter.node.rpc import Node

NODE = "02" * 33


@pytest.fixture
def url(tmp_path):
    return sqlite_url(tmp_path / "b.sqlite3")


def test_the_migrations_make_the_tables(url):
    Database(url, NODE)
    with engine(url).connect() as db:
        context = MigrationContext.configure(db, opts={"version_table": "billing_version"})
        assert compare_metadata(context, META) == []


def test_a_database_of_another_node_or_a_newer_version_is_refused(url):
    database = Database(url, NODE)
    with pytest.raises(JournalTrouble, match="belongs to node"):
        Database(url, "03" * 33)
    with database.writing() as db:
        db.execute(sa.text("UPDATE billing_version SET version_num = '9999'"))
    with pytest.raises(JournalTrouble, match="is newer"):
        Database(url, NODE)


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/b.sqlite3", "postgresql://x@/y?host=/nowhere", "what"])
def test_a_database_that_is_not_there_is_said(url):
    with pytest.raises(JournalTrouble, match="can't be used"):
        Database(url, NODE)


@pytest.mark.parametrize(
    "url", ["postgresql://me:hunter2@127.0.0.1:1/x", "postgresql://me@127.0.0.1:1/x?password=hunter2"]
)
def test_a_password_of_the_database_is_shown_to_nobody(url):
    with pytest.raises(JournalTrouble) as error:
        Database(url, NODE)
    assert "127.0.0.1" in str(error.value) and "hunter2" not in str(error.value)


def test_what_fails_half_way_is_not_recorded(url):
    database = Database(url, NODE)
    with pytest.raises(JournalTrouble):
        with database.writing() as db:
            db.execute(sa.insert(ABOUT), {"name": "x", "value": "1"})
            db.execute(sa.insert(ABOUT), {"name": "x", "value": "2"})
    with database.reading() as db:
        assert db.execute(sa.select(ABOUT).where(ABOUT.c.name == "x")).first() is None


def stored(database, table, rows):
    with database.writing() as db:
        db.execute(sa.insert(table), rows)


def count(database, table):
    with database.reading() as db:
        return db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def invoice_row(id, client="shop", pay_index=None, expires_at=0):
    empty = {c.name: None if c.nullable else ("" if isinstance(c.type, sa.String) else 0) for c in tables.INVOICE.c}
    given = {
        "id": id,
        "client": client,
        "rhash": id,
        "pay_index": pay_index,
        "expires_at": expires_at,
        "metadata": "{}",
    }
    return {**empty, **given}


def test_what_is_over_has_an_end_and_what_is_not_stays(url):
    database, now = Database(url, NODE), int(time.time())
    ApiTokens(database).add("shop", ["invoice"])
    long_ago, month = now - 40 * 86_400, 30 * 86_400
    stored(
        database,
        tables.INVOICE,
        [
            *(invoice_row(f"old{n}", expires_at=long_ago) for n in range(2500)),
            invoice_row("paid", pay_index=7, expires_at=long_ago),
            invoice_row("open", expires_at=now + 60),
            invoice_row("fresh", expires_at=now - month + 3600),
            invoice_row("order", client="a hub's own", expires_at=long_ago),
        ],
    )
    stored(database, tables.SERVICE, [{"invoice": "old3", "service": "x"}, {"invoice": "open", "service": "x"}])
    invoices = Invoices(database, None, Events(database), 0)
    assert [row["id"] for row in invoices.open()] == ["open"]
    hooks = [
        {**hook_row("shop", "http://x/", id), "state": state, "created_at": at}
        for id, state, at in (
            ("old1", "waiting", long_ago), ("open", "waiting", long_ago), ("paid", "done", long_ago),
            ("paid", "done", now), ("paid", "dead", long_ago),
        )
    ]  # fmt: skip
    stored(database, tables.HOOK, hooks)
    invoices.forget(long_ago)  # by a clock that is wrong nothing is old
    assert count(database, tables.INVOICE) == 2504
    invoices.forget(now)
    with database.reading() as db:
        assert sorted(db.execute(sa.select(tables.INVOICE.c.id)).scalars()) == ["fresh", "open", "order", "paid"]
    assert count(database, tables.SERVICE) == 1
    Webhooks(database, invoices, Events(database), b"x", Outward((), "hook_hosts")).forget()
    assert count(database, tables.HOOK) == 3


def test_open_invoices_are_read_by_the_page(url):
    database = Database(url, NODE)
    stored(database, tables.INVOICE, [invoice_row(f"i{n:05}", expires_at=int(time.time()) + 60) for n in range(2300)])
    found = [row["id"] for row in Invoices(database, None, Events(database), 0).open()]
    assert len(found) == len(set(found)) == 2300


def test_figures_are_not_counted_more_often_than_a_twentieth_of_the_time(url, monkeypatch):
    metrics, counted, clock = Metrics(Database(url, NODE)), [], [0.0]

    def slow():
        counted.append(clock[0])
        clock[0] += 1
        return {}

    monkeypatch.setattr(metrics, "_stored", slow)
    monkeypatch.setattr(metrics_module.time, "monotonic", lambda: clock[0])
    for _ in range(100):
        metrics.text()
        clock[0] += 1
    assert len(counted) == 5


@pytest.mark.parametrize("text", ["20\u00a0€", "👩\u200d🚀", "\u200f\u05e9\u05dc", "a\u2009b"])
def test_text_that_people_write_is_taken(text):
    assert check_description(text) == text and services_of(text) == (text,)


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31m", "a\x7f", "a\u2028b", "a\ud800b"])
def test_text_that_nobody_can_read_is_refused(text):
    for check in (check_description, services_of):
        with pytest.raises(BadParam):
            check(text)


def test_the_text_of_an_escape_is_text_and_a_nul_is_none():
    fine = body.fields(json.dumps({"metadata": {"\\u0000": ["\\u0000"]}}).encode(), "application/json")
    assert fine == {"metadata": {"\\u0000": ["\\u0000"]}}
    for wrong in ({"metadata": {"a\0": 1}}, {"metadata": [["\0"]]}, {"\0": 1}, {"metadata": "\ud800"}):
        with pytest.raises(BadParam):
            body.fields(json.dumps(wrong).encode(), "application/json")


def test_secrets(url):
    secrets = ApiTokens(Database(url, NODE))
    secret = secrets.add("shop", ["invoice", "pay"])
    found = secrets.find(secret)
    assert found is not None and found.name == "shop" and found.scopes == {"invoice", "pay"}
    for wrong in ("", secret[:-1], secret + "x", "\ud800"):
        assert secrets.find(wrong) is None
    with pytest.raises(NameTaken):
        secrets.add("shop", ["pay"])
    for name, scopes in (("A", ["pay"]), ("", ["pay"]), ("x", ["root"])):
        with pytest.raises(BadParam):
            secrets.add(name, scopes)
    secrets.revoke("shop")
    assert secrets.find(secret) is None
    with pytest.raises(BadParam):
        secrets.revoke("shop")


def test_a_secret_is_replaced_with_the_earlier_one_good_for_a_while(url, monkeypatch):
    secrets, clock = ApiTokens(Database(url, NODE)), [1_800_000_000]
    monkeypatch.setattr(secrets_module.time, "time", lambda: clock[0])
    first = secrets.add("shop", ["invoice"])
    second = secrets.replace("shop", keep_s=3600)
    assert [secrets.find(s).name for s in (first, second)] == ["shop", "shop"]
    clock[0] += 3601
    assert secrets.find(first) is None and secrets.find(second).scopes == {"invoice"}
    third = secrets.replace("shop")
    assert secrets.find(second) is None and secrets.find(third)
    secrets.revoke("shop")
    fourth = secrets.replace("shop", keep_s=3600)
    assert secrets.find(third) is None and secrets.find(fourth)
    with pytest.raises(BadParam):
        secrets.replace("nobody")
    ended = secrets.add("other", ["invoice"], expires_at=clock[0] + 60)
    secrets.replace("other", keep_s=3600)
    assert secrets.find(ended)
    clock[0] += 61
    assert secrets.find(ended) is None


def test_a_secret_may_have_an_end(url, monkeypatch):
    secrets, clock = ApiTokens(Database(url, NODE)), [1_800_000_000]
    monkeypatch.setattr(secrets_module.time, "time", lambda: clock[0])
    secret = secrets.add("shop", ["invoice"], expires_at=clock[0] + 60)
    assert secrets.find(secret)
    clock[0] += 61
    assert secrets.find(secret) is None


def test_an_attempt_that_was_not_answered_goes_on_under_its_id(url):
    once = IdempotencyKeys(Database(url, NODE))
    first = once.begin("shop", "k", b"body")
    again = once.begin("shop", "k", b"body")
    assert again.ref == first.ref and again.status == 0
    once.end(first, 201, "{}")
    assert (once.begin("shop", "k", b"body").status, once.begin("shop", "k", b"body").body) == (201, "{}")
    assert once.begin("other", "k", b"body").ref != first.ref
    with pytest.raises(BadParam, match="another request"):
        once.begin("shop", "k", b"other")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("prot = 1", "prot"),
        ("port = 0", "port"),
        ("port = 'x'", "port"),
        ("workers = 4", "workers"),
        ("invoice_cap_msat = -1", "invoice_cap_msat"),
        ("public_url = 'ftp://x'", "public_url"),
        ("rates = {EUR = 'x'}", "rates"),
        ("rates = {eur = 5}", "rates"),
        ("rates = {EUR = 0}", "rates"),
        ("hook_hosts = 'x'", "hook_hosts"),
        ("host = 5", "host"),
        ("[", r"c\.toml: \w+"),
    ],
)
def test_a_config_that_is_wrong_is_refused_before_anything_starts(tmp_path, text, why):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(BadParam, match=why):
        config.load(path)


def test_a_config_that_is_right(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('port = 9000\npayment_cap_msat = "50sat"\nrates = {EUR = "60000.5"}\n')
    found = config.load(path)
    assert (found.port, found.payment_cap_msat, str(found.rates["EUR"])) == (9000, 50_000, "60000.5")


@given(
    data=st.binary(max_size=300), kind=st.sampled_from(["application/json", "application/x-www-form-urlencoded", ""])
)
def test_any_body_is_fields_or_an_error(data, kind):
    try:
        assert isinstance(body.fields(data, kind), dict)
    except BadParam as e:
        assert e.data["param"] == "body" and str(e).isprintable()


@given(
    value=st.recursive(
        st.text("abc", min_size=1, max_size=3),
        lambda inner: (
            st.dictionaries(st.text("xyz", min_size=1, max_size=2), inner, min_size=1, max_size=3)
            | st.lists(inner, min_size=1, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_nested_forms_come_back(value):
    def flat(name, inner):
        if isinstance(inner, str):
            return [(name, inner)]
        items = inner.items() if isinstance(inner, dict) else enumerate(inner)
        return [pair for key, each in items for pair in flat(f"{name}[{key}]", each)]

    assert body.nested(flat("m", value)) == {"m": value}


@given(text=st.text(max_size=80) | st.integers() | st.none())
def test_any_services_are_names_or_an_error(text):
    try:
        found = services_of(text)
    except SatmeterError:
        return
    assert found and all(name.strip() == name and name for name in found)


@given(url=st.text(max_size=60) | st.text(max_size=40).map(lambda t: "http://" + t) | st.integers())
def test_any_url_is_one_or_an_error(url):
    try:
        assert check_url(url) == url
    except BadParam as e:
        assert str(e).startswith("url:")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[::1]",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
    ],
)
def test_no_request_leads_into_our_own_network(host):
    with pytest.raises((BadParam, OSError), match=r"private network.*hook_hosts|address"):
        in_a_loop(Outward((), "hook_hosts").address(host.strip("[]"), 80))
    assert in_a_loop(Outward(("127.0.0.1",), "hook_hosts").address("127.0.0.1", 80)) == "127.0.0.1"


def test_what_a_problem_says_is_json():
    from satmeter.http.problem import problem as answer

    said = json.loads(answer(400, "BadParam", "x: y", 2101).body)
    assert said == {"type": "urn:satmeter:error:2101", "title": "BadParam", "status": 400, "detail": "x: y"}


def test_where_the_nodes_socket_is_is_no_clients_business():
    app = FastAPI()
    problem.install(app, None)

    @app.get("/")
    def ask():
        Node("/home/ann/.lightning/lightning-rpc").info()

    answer = TestClient(app).get("/")
    assert answer.status_code == 502 and "the node does not answer" in answer.json()["detail"]
    assert "/home" not in answer.text


@pytest.mark.parametrize(
    ("msat", "uses", "shown"),
    [
        (10_000, 1000, "0.01 sat"),
        (1_000, 3, "0.333 sat"),
        (999_600, 1, "1,000 sat"),
        (12_345_600, 1, "12,346 sat"),
        (21_000_000, 2, "10,500 sat"),
        (500_000, 1, "500 sat"),
    ],
)
def test_the_price_of_a_use_is_written_out(msat, uses, shown):
    assert of_a_use(msat, uses) == shown


def test_the_nodes_own_invoices_are_told_from_others():
    """A payment to itself settles without a channel: what it credits would have come from nowhere."""

    class Node:
        asked = 0

        def info(self):
            self.asked += 1
            return {"id": "02" + "aa" * 32}

    node = Node()
    outgoing = OutgoingPayments(None, node, 0)
    assert outgoing.is_own({"payee": "02" + "aa" * 32}) and not outgoing.is_own({"payee": "02" + "bb" * 32})
    assert node.asked == 1

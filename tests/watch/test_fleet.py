"""Many sites in one table, from the journals in a PostgreSQL."""

import http.server
import json
import threading
import time
from contextlib import suppress

import psycopg
import pytest
from typer.testing import CliRunner

from satmeter.cli.main import app
from satmeter.core.errors import BadParam, JournalTrouble, NodeTrouble
from satmeter.core.seller import events as selling
from satmeter.core.status import SessionRow
from satmeter.core.tariff import Tariff
from satmeter.journal.store import Journal
from satmeter.journal.tables import SCHEMA
from satmeter.watch import fleet, months
from satmeter.watch.fleet import of_database, of_prometheus

NODE = "02" + "aa" * 32
OCTOBER, NOVEMBER = months.bounds("2026-10")[0], months.bounds("2026-11")[0]


def site_url(database, schema):
    with psycopg.connect(database, autocommit=True) as db:
        db.execute(f"CREATE SCHEMA {schema}")
    return f"{database}&options=-csearch_path%3D{schema}"


def receipt(msat):
    """Of a session that earned so much, and was not paid for all that it was charged."""
    return json.dumps({"charged_msat": msat + 50, "debt_msat": 50})


def sold(journal, meter, *sessions):
    """A meter, and what each of its (opened_at, msat) earned."""
    tariff = Tariff(price_msat=1000, ticks_per_unit=10, quantum_msat=5_000)
    added = selling.MeterAdded(at=1, subject=f"meter/{meter}", tariff=tariff)
    rows = [
        SessionRow(
            f"{meter}{n}",
            at,
            meter,
            "02bb",
            at + 1,
            "closed",
            json.dumps({"charged_msat": msat + 50, "debt_msat": 50}),
            "sig",
        )
        for n, (at, msat) in enumerate(sessions)
    ]
    journal.commit([added], [*rows, SessionRow(f"{meter}-live", NOVEMBER, meter, "02bb")])


def test_every_schema_with_a_sellers_journal_is_a_site(database):
    cellar = Journal(site_url(database, "cellar"), "meter", NODE)
    sold(cellar, "socket", (OCTOBER, 3_000_000_000_000), (NOVEMBER, 1_000))
    sold(cellar, "tap")
    Journal(site_url(database, "roof"), "meter", NODE).close()
    Journal(site_url(database, "buyers"), "stream", NODE).close()
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("CREATE SCHEMA others")
        db.execute("CREATE TABLE others.satmeter_event (id int)")
    sites = {site.name: site for site in of_database(database)}
    assert set(sites) == {"cellar", "roof"}
    assert sites["cellar"].trouble == ""
    meters = sites["cellar"].meters
    assert (meters["socket"].state, meters["socket"].sessions, meters["socket"].earned_msat) == (
        "standby",
        2,
        3_000_000_001_000,
    )
    assert meters["tap"].sessions == 0
    (cellar_only, _) = of_database(database, *months.bounds("2026-11"))
    assert (cellar_only.meters["socket"].sessions, cellar_only.meters["socket"].earned_msat) == (1, 1_000)
    cellar.close()


def test_a_journal_that_this_version_does_not_know_hides_no_other(database):
    Journal(site_url(database, "cellar"), "meter", NODE).close()
    sold(Journal(site_url(database, "roof"), "meter", NODE), "lamp", (OCTOBER, 5_000))
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("UPDATE cellar.satmeter_about SET value = '99' WHERE name = 'schema'")
    cellar, roof = of_database(database)
    assert f"schema 99, and this version knows {SCHEMA}" in cellar.trouble
    assert roof.meters["lamp"].earned_msat == 5_000
    found = CliRunner().invoke(app, ["fleet", database])
    assert found.exit_code == 1 and "this version knows" in found.output and "2 sites, 5 sat earned" in found.output
    told = CliRunner().invoke(app, ["fleet", database, "--json"])
    assert json.loads(told.output)[1]["meters"][0]["earned_msat"] == 5_000


BROKEN = {
    "no_sessions": "DROP TABLE {}.satmeter_session",
    "no_json": "UPDATE {}.satmeter_session SET receipt = 'x'",
    "no_snapshot": "INSERT INTO {}.satmeter_snapshot VALUES (999, 'x')",
    "no_rights": "REVOKE ALL ON SCHEMA {} FROM reader",
    "other_program": "ALTER TABLE {}.satmeter_about RENAME COLUMN name TO title",
}


def test_a_schema_that_is_broken_hides_no_other(database):
    for schema in (*BROKEN, "whole"):
        journal = Journal(site_url(database, schema), "meter", NODE)
        sold(journal, "lamp", (OCTOBER, 5_000))
        journal.close()
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("DO $$ BEGIN CREATE ROLE reader LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        for schema in (*BROKEN, "whole"):
            db.execute(f"GRANT USAGE ON SCHEMA {schema} TO reader")
            db.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader")
        for schema, break_it in BROKEN.items():
            db.execute(break_it.format(schema))
        db.execute("UPDATE whole.satmeter_session SET receipt = '{}' WHERE receipt <> ''")
    sites = {site.name: site for site in of_database(database.replace("satmeter@", "reader@"))}
    assert set(sites) == {*BROKEN, "whole"}
    assert {name for name, site in sites.items() if not site.trouble} == {"whole"}
    assert (sites["whole"].meters["lamp"].sessions, sites["whole"].meters["lamp"].earned_msat) == (1, 0)


def test_nothing_is_written_into_it(database):
    url = site_url(database, "cellar")
    Journal(url, "meter", NODE).close()
    read_only = database + "&options=-cdefault_transaction_read_only%3Don"
    assert [site.name for site in of_database(read_only)] == ["cellar"]


def test_what_is_no_source_is_refused(tmp_path):
    for source, why in (
        (f"sqlite:///{tmp_path}/j", "source: must be postgresql://"),
        ("journal.sqlite3", "source: must be postgresql://"),
        ("ftp://x/y", "source: must be postgresql://"),
        ("postgresqlx://y", "source: must be sqlite:////PATH or postgresql://"),
    ):
        with pytest.raises(BadParam, match=why):
            of_database(source)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(JournalTrouble) as error:
        of_database("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(error.value)
    with pytest.raises(NodeTrouble, match=r"^http://127.0.0.1:1 does not answer as a Prometheus does") as away:
        of_prometheus("http://me:secret@127.0.0.1:1/")
    assert "secret" not in str(away.value)
    for url in ("http://[::1", "http://h:abc", "http://a b/", "http://x/\x1b[31m"):
        with pytest.raises(BadParam, match=r"source: must be http"):
            of_prometheus(url)
    for month in ("2026", "2026-13", "November"):
        assert CliRunner().invoke(app, ["fleet", "postgresql://x/y", "--month", month]).exit_code == 1
    assert CliRunner().invoke(app, ["fleet", "http://127.0.0.1:1", "--month", "2026-11"]).exit_code == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"data": {}}',
        b'{"data": {"result": [{"metric": {}, "value": ["x"]}]}}',
        b'{"data": {"result": [{"metric": [], "value": [0, "1"]}]}}',
        b'{"data": {"result": [{"metric": {}, "value": [0, "+Inf"]}]}}',
        b"[" * 100_000,
    ],
)
def test_what_answers_and_is_no_prometheus_is_said(body):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers.get("Authorization"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(NodeTrouble, match="does not answer as a Prometheus does"):
            of_prometheus(f"http://ann:a%20b@127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    assert asked == ["Basic YW5uOmEgYg=="]


class Answering(http.server.BaseHTTPRequestHandler):
    """A Prometheus that says the same of everything, or sends on to another host."""

    rows, onward, asked = [], "", []

    def do_GET(self):
        self.asked.append(self.headers.get("Authorization"))
        self.send_response(302 if self.onward else 200)
        if self.onward:
            self.send_header("Location", self.onward + self.path)
        self.end_headers()
        earned = "sold_earned" in self.path
        self.wfile.write(json.dumps({"data": {"result": self.rows if earned else []}}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def prometheus():
    """Starts servers that answer by a subclass of Answering, with these of its values."""
    servers = []

    def started(**values):
        kind = type("Answers", (Answering,), {"asked": [], **values})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return kind, server.server_port

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def test_sites_of_one_instance_and_several_jobs_are_several(prometheus):
    label = {"instance": "127.0.0.1:9750", "meter": "m"}
    rows = [{"metric": {**label, "job": job}, "value": [0, str(msat)]} for job, msat in (("cellar", 5), ("roof", 7))]
    _, port = prometheus(rows=rows)
    sites = of_prometheus(f"http://127.0.0.1:{port}")
    earned = {site.name: site.meters["m"].earned_msat for site in sites}
    assert earned == {"cellar 127.0.0.1:9750": 5, "roof 127.0.0.1:9750": 7}


def test_the_password_goes_to_no_other_host(prometheus):
    elsewhere, there = prometheus()
    here, port = prometheus(onward=f"http://localhost:{there}")
    assert of_prometheus(f"http://ann:secret@127.0.0.1:{port}") == []
    assert set(elsewhere.asked) == {None} and all(here.asked)


def trickle(self):
    """An answer that goes on, a byte at a time."""
    self.send_response(200)
    self.end_headers()
    with suppress(OSError):
        while True:
            self.wfile.write(b" ")
            time.sleep(0.01)


@pytest.mark.parametrize(("bytes_most", "seconds"), [(20, 60), (10**6, 0.2)])
def test_an_answer_without_an_end_is_not_waited_for(prometheus, monkeypatch, bytes_most, seconds):
    monkeypatch.setattr(fleet, "ANSWER_BYTES", bytes_most)
    monkeypatch.setattr(fleet, "ANSWER_S", seconds)
    _, port = prometheus(do_GET=trickle)
    with pytest.raises(NodeTrouble, match="its answer has more than"):
        of_prometheus(f"http://127.0.0.1:{port}")

"""Commands of an operator at a bad moment: a line that says what to do, and an exit code that says that it failed."""

import http.client
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from prometheus_client import Metric
from typer.testing import CliRunner

from satmeter.billing.api_tokens import ApiTokens
from satmeter.billing.database import Database
from satmeter.cli.main import app
from satmeter.core.errors import NodeTrouble
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url
from satmeter.node.rpc import Node
from satmeter.watch.doctor import findings
from satmeter.watch.figures import Figures
from satmeter.watch.server import exposition, in_background
from waiting import until

CHECK = Path(__file__).parents[2] / "contrib" / "check_receipt.py"


@pytest.fixture
def mute(tmp_path):
    """A node's socket that takes connections and says nothing."""
    path = tmp_path / "lightning-rpc"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        yield path


class Answers(Node):
    """A node whose methods answer what they are told to."""

    def __init__(self, tmp_path, **said):
        super().__init__(str(tmp_path / "lightning-rpc"))
        self.said = said

    def call(self, method, **params):
        return self.said.get(method.replace("-", "_"), {"channels": []})


def test_a_node_that_takes_a_call_and_does_not_answer_is_given_up(mute):
    with pytest.raises(NodeTrouble, match=r"does not answer within 0\.2 s"):
        Node(str(mute), timeout_s=0.2).info()
    (found,) = findings(Node(str(mute), timeout_s=0.2))
    assert (found.about, found.state) == ("node", "bad") and "does not answer" in found.words


@pytest.mark.parametrize("said", ["5msat", None, [1]])
def test_doctor_says_of_a_channel_what_it_can_not_read(tmp_path, said):
    channel = {"state": "CHANNELD_NORMAL", "peer_connected": True, "receivable_msat": said}
    node = Answers(tmp_path, getinfo={"version": "v26.06"}, listpeerchannels={"channels": [channel]})
    about = {each.about: each for each in findings(node)}
    assert about["channels"].state == "mind" and "nonsense" in about["channels"].words


def test_doctor_goes_on_after_a_plugin_of_another_version(tmp_path):
    old = Answers(tmp_path, getinfo={"version": "v26.06"}, meter_status={"meters": [{}]}, stream_list={"streams": []})
    about = {each.about: each for each in findings(old)}
    assert about["meter"].state == "bad" and "restart" in about["meter"].do and "channels" in about


def test_figures_of_a_plugin_of_another_version_say_that_it_is_not_up(tmp_path):
    for said in ({}, {"meters": [{}], "sessions": []}):
        told = exposition(Figures(Answers(tmp_path, meter_status=said, stream_list={"streams": []}))).decode()
        assert 'satmeter_up{plugin="meter"} 0.0' in told


class Slow:
    """Figures that take until they are let go."""

    def __init__(self):
        self.asked, self.let_go = threading.Semaphore(0), threading.Event()

    def collect(self):
        self.asked.release()
        self.let_go.wait(60)
        yield Metric("some", "", "gauge")

    def describe(self):
        return []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_scrapes_of_a_node_that_does_not_answer_do_not_pile_up(host):
    figures = Slow()
    server = in_background(figures, f"{host}:{_free(host)}")
    ask = lambda: http.client.HTTPConnection(host.strip("[]"), server.server_port, timeout=60)  # noqa: E731
    first = ask()
    first.request("GET", "/metrics")
    assert figures.asked.acquire(timeout=60)
    second = ask()
    second.request("GET", "/metrics")
    assert second.getresponse().status == 503
    figures.let_go.set()
    assert first.getresponse().status == 200
    server.shutdown()
    server.server_close()


def _free(host):
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as one:
        one.bind((host.strip("[]"), 0))
        return one.getsockname()[1]


def test_a_scraper_that_hangs_up_is_no_news(capfd):
    figures = Slow()
    server = in_background(figures, f"127.0.0.1:{_free('127.0.0.1')}")
    with socket.create_connection(("127.0.0.1", server.server_port)) as one:
        one.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert figures.asked.acquire(timeout=60)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # gone at once
    figures.let_go.set()
    until(
        lambda: all(not t.name.startswith("Thread-") or "process_request" not in t.name for t in threading.enumerate())
    )
    server.shutdown()
    server.server_close()
    assert "Traceback" not in capfd.readouterr().err


def run(*args):
    return CliRunner().invoke(app, [*map(str, args)], env={"COLUMNS": "300"})


def test_one_site_that_is_down_hides_no_other(tmp_path):
    Journal(sqlite_url(tmp_path / "j"), "meter", "02" * 33).close()
    sources = ["postgresql://who:secret@127.0.0.1:1/one", "postgresql://127.0.0.1:1/two?password=secret"]
    found = run("fleet", *sources, "no://x:secret@y?password=secret", "http://127.0.0.1:1", "--json")
    sites = json.loads(found.stdout)
    assert found.exit_code == 1 and len(sites) == 4 and all(site["trouble"] for site in sites)
    assert "secret" not in found.output


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("fleet", "--month", "9999-12", "postgresql://x@127.0.0.1:1/d"), "must be one such as 2026-11"),
        (("journal", "backup", "postgresql://x@127.0.0.1:abc/d", "to"), "must be sqlite:////PATH or postgresql://"),
        (("journal", "move", "postgres://x@127.0.0.1/d", "to"), "must be sqlite:////PATH or postgresql://"),
        (("journal", "backup", "~nosuch/j", "to"), "no home directory"),
        (("journal", "audit", "~nosuch/j"), "no home directory"),
        (("metrics", "--host", ""), "must be an address"),
    ],
)
def test_what_can_not_be_is_one_line_on_stderr(args, why):
    found = run(*args)
    assert found.exit_code == 1 and why in found.stderr and "Traceback" not in found.output and not found.stdout


def test_a_disk_that_is_full_is_said():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "satmeter.cli", "--help"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"No space left" in done.stderr and b"Traceback" not in done.stderr


@pytest.mark.parametrize("events", ['{"code": 2101}', "{}", "null", "[5]", "[{}]", '{"events": null}'])
def test_events_that_are_none_are_not_held_against_the_receipt(tmp_path, events):
    (tmp_path / "receipt.json").write_text('\ufeff{"receipt": "{}", "signature": "d"}')
    (tmp_path / "events.json").write_text(events)
    done = subprocess.run(
        [sys.executable, CHECK, tmp_path / "receipt.json", tmp_path / "events.json"], capture_output=True, text=True
    )
    assert done.returncode == 2 and "EVENTS can't be read" in done.stdout and not done.stderr


@pytest.fixture
def service(tmp_path):
    """The config of a billing service whose database is there, and whose node is not; it has the client z9."""
    database = Database(f"sqlite:///{tmp_path / 'billing.sqlite3'}", "02" * 33)
    ApiTokens(database).add("z9", ["invoice"])
    database.close()
    config = tmp_path / "billing.toml"
    config.write_text(f'rpc = "{tmp_path / "nothing"}"\ndatabase = "sqlite:///{tmp_path / "billing.sqlite3"}"\n')
    return config


def test_a_token_can_be_revoked_while_the_node_is_away(service):
    """A leaked one, say; whoever spends by it does not wait for the node either."""
    assert run("client", "revoke", "z9", "--config", service).exit_code == 0
    listed = run("client", "list", "--config", service)
    assert listed.exit_code == 0 and "z9" in listed.stdout
    assert run("hooks", "dead", "--config", service).exit_code == 0
    made = run("client", "add", "other", "--scope", "invoice", "--config", service)
    assert made.exit_code == 1 and "does not answer" in made.stderr


def test_a_webhook_that_is_none_is_not_replayed_in_silence(service):
    found = run("hooks", "replay", "nope", "--config", service)
    assert found.exit_code == 1 and "no dead webhook 'nope'" in found.stderr
    assert run("hooks", "replay", "--config", service).exit_code == 0


def test_a_token_that_could_not_be_written_is_not_lost_in_silence(service):
    command = [sys.executable, "-m", "satmeter.cli", "client", "renew", "z9", "--config", service]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "satmeter client renew z9 gives another" in done.stderr


def test_a_picture_that_can_not_be_written_leaves_the_one_that_is_there(tmp_path, monkeypatch):
    out = tmp_path / "code.svg"
    assert run("code", "hello", "--out", out).exit_code == 0
    before = out.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    found = run("code", "other", "--out", out)
    assert found.exit_code == 1 and f"{out}: can't be written: No space left" in found.stderr.replace("\n", "")
    assert out.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["code.svg"]


@pytest.mark.parametrize("taken", [False, True])
def test_a_server_says_where_it_is_once_it_listens(tmp_path, taken):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        if not taken:
            busy.close()
        text = f"""
            from satmeter.http.server import run, settings
            async def app(scope, receive, send):
                assert scope["type"] == "lifespan"
                await receive()
                await send({{"type": "lifespan.startup.complete"}})
                await receive()
                await send({{"type": "lifespan.shutdown.complete"}})
            run(app, "here it is", **settings("127.0.0.1", {port}, ()))
        """
        command = [sys.executable, "-c", textwrap.dedent(text)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            said = running.stdout.readline()
            running.terminate()
            running.communicate(timeout=30)
        assert said == ("" if taken else "here it is\n") and running.returncode in ((1, 3) if taken else (0, -15))


def test_a_command_for_lightning_cli_works_without_it(tmp_path):
    found = run("rpc", "-k", "meter-status", "socket", "--rpc", tmp_path / "nothing")
    assert found.exit_code == 1 and "-k: each parameter has to be name=value" in found.stderr


def test_what_is_wrong_is_named(tmp_path):
    """The address that is taken, the folder that is empty, the certificate that is none, the key that can't be made."""
    (tmp_path / "none").mkdir()
    key = tmp_path / "board.key"
    key.write_text("")
    in_a_file = str(key / "folder" / "key")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        wrong = [
            (["metrics", "--port", port], f"127.0.0.1 {port} can't be listened on"),
            (["metrics", "--host", "192.0.2.1"], "192.0.2.1 9750 can't be listened on"),
            (["scan", str(tmp_path / "none")], "there is no file in it"),
            (["panel", "--no-password", "--tls-cert", str(key), "--tls-key", str(key)], f"--tls-cert {key}"),
            (["flash", "--key", in_a_file], "--key names another file"),
            (["flash", "--config", str(tmp_path / "no.toml"), "--key", in_a_file], f"{tmp_path}/no.toml"),
            (["fleet", ""], "source: must be postgresql"),
            (["rpc", "meter-status", "\udcff"], "not UTF-8"),
            (["journal", "move", str(tmp_path / "j"), "\udcff"], "must be UTF-8"),
        ]
        for command, said in wrong:
            found = CliRunner().invoke(app, command, env={"COLUMNS": "300"})
            assert found.exit_code == 1 and said in found.output.replace("\n", ""), (command, found.output)

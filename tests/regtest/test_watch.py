"""What an operator watches, of running nodes: figures as Prometheus reads them, and the doctor's lines."""

import json
import os
import re
import stat
import subprocess
import threading
import urllib.parse
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pyln.client import RpcError
from typer.testing import CliRunner

from lanes import lane
from satmeter.cli.main import app
from satmeter.device.figures import figures as of_bridge
from satmeter.devnet.devices.simulated import free_port
from satmeter.node.rpc import Node
from satmeter.watch.doctor import findings
from satmeter.watch.figures import Figures
from satmeter.watch.fleet import of_prometheus
from satmeter.watch.server import exposition, serve
from shop import close, open_stream
from waiting import until


def node_of(dev):
    return Node(str(dev.lightning_dir / "lightning-rpc"))


def figures(dev, **more):
    """{name: {labels: value}} of a node, as a reader of the format finds them."""
    return parsed(exposition(Figures(node_of(dev), **more)).decode())


def parsed(text):
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_figures_of_a_sale_agree_with_its_receipt(net, shop):
    board = shop.add()
    label = (("meter", board.name),)
    session = open_stream(net["buyer"], shop, board)
    board.use_all(500)
    live = figures(net["seller"])
    assert live["satmeter_up"][(("plugin", "meter"),)] == 1
    assert live["satmeter_meter_heard"][label] == 1 and live["satmeter_sessions"][()] >= 1
    assert (
        sum(live["satmeter_meter_state"][(("meter", board.name), ("state", s))] for s in ("delivering", "suspended"))
        == 1
    )
    assert 0 <= live["satmeter_meter_exposure_msat"][label] <= live["satmeter_meter_exposure_bound_msat"][label]
    bought = figures(net["buyer"])
    assert bought["satmeter_streams_paid_msat"][()] > 0 and (("plugin", "meter"),) not in bought["satmeter_up"]
    assert live["satmeter_meter_sold_sessions"][label] == 0
    close(net["buyer"], session)
    receipt = shop.receipt(session)
    sold = figures(net["seller"])
    for name in ("paid_msat", "charged_msat", "refunded_msat"):
        assert sold[f"satmeter_meter_sold_{name}"][label] == receipt[name]
    assert sold["satmeter_meter_delivered_ticks_total"][label] == receipt["ticks"] == 500


def test_sums_over_the_journal_are_asked_once_in_a_minute(net, shop):
    class Asked(Node):
        totals = 0

        def call(self, method, **params):
            Asked.totals += method == "meter-totals"
            return super().call(method, **params)

    shop.add()
    now = [1_000.0]
    collector = Figures(Asked(node_of(net["seller"]).path), clock=lambda: now[0])
    for seconds, more in ((0, True), (30, False), (31, True)):
        before, now[0] = Asked.totals, now[0] + seconds
        exposition(collector)
        assert (Asked.totals > before) == more


def test_a_node_that_is_away_is_down(net, tmp_path):
    found = parsed(exposition(Figures(Node(str(tmp_path / "nothing")))).decode())
    assert found["satmeter_up"] == {(("plugin", "meter"),): 0, (("plugin", "stream"),): 0}


def test_a_plugin_that_is_gone_is_down_and_one_that_never_was_is_not(net, shop):
    class Gone(Node):
        gone = False

        def call(self, method, **params):
            if self.gone and method.startswith("meter-"):
                raise RpcError(method, {}, {"code": -32601, "message": "Unknown command"})
            return super().call(method, **params)

    node = Gone(node_of(net["seller"]).path)
    collector = Figures(node)
    assert parsed(exposition(collector).decode())["satmeter_up"] == {(("plugin", "meter"),): 1}
    node.gone = True
    assert parsed(exposition(collector).decode())["satmeter_up"] == {(("plugin", "meter"),): 0}
    lost = {each.about: each for each in findings(node)}["meter"]
    assert lost.state == "bad" and "plugin start" in lost.do


def test_prometheus_gets_them_over_http(net, shop):
    shop.add()
    server = serve(Figures(node_of(net["seller"])), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with urllib.request.urlopen(f"{url}/metrics") as answer:
            assert "satmeter_up" in parsed(answer.read().decode())
        with pytest.raises(HTTPError, match="404"):
            urllib.request.urlopen(url)
    finally:
        server.shutdown()
        server.server_close()


def doctor(dev):
    found = CliRunner().invoke(
        app, ["doctor", "--rpc", str(dev.lightning_dir / "lightning-rpc")], env={"COLUMNS": "200"}
    )
    return found.exit_code, found.output


def test_the_doctor_says_what_is_good_and_what_is_wrong(net, shop):
    board = shop.add()
    lines = {each.about: each for each in findings(node_of(net["seller"]))}
    assert lines["node"].state == "good" and "regtest" in lines["node"].words
    assert lines[f"meter {board.name}"].state == "good" and lines["stream"].state == "mind"
    assert lines["channels"].state == "good" and "can come in" in lines["channels"].words
    shop.forget(board)
    reading = {"name": board.name, "boot": board.boot, "register": board.register, "fault": "relay is stuck"}
    shop.rpc.call("meter-report", reading)
    code, said = doctor(net["seller"])
    assert code == 1 and f"bad   meter {board.name}: relay is stuck" in said
    until(lambda: "is not heard" in doctor(net["seller"])[1])


def test_a_journal_that_others_can_read_and_a_node_that_is_away_are_bad(net, tmp_path):
    (journal,) = net["buyer"].lightning_dir.rglob("satmeter-stream.sqlite3")
    before = stat.S_IMODE(journal.stat().st_mode)
    journal.chmod(0o644)
    try:
        code, said = doctor(net["buyer"])
        assert code == 1 and f"chmod 600 {journal}" in said
    finally:
        journal.chmod(before)
    lost = CliRunner().invoke(app, ["doctor", "--rpc", str(tmp_path / "nothing")], env={**os.environ, "COLUMNS": "200"})
    assert lost.exit_code == 1 and "start lightningd" in lost.output


CONTRIB = Path(__file__).parents[2] / "contrib"


def asked_for():
    """Every expression of the alert rules and of the dashboard."""
    rules = re.findall(r"^ +expr: (.*)$", (CONTRIB / "prometheus-rules.yml").read_text(), re.MULTILINE)
    dashboard = json.loads((CONTRIB / "grafana-satmeter.json").read_text())
    return rules + [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_rules_and_dashboard_ask_for_figures_that_there_are(net, shop):
    shop.add()
    known = set(figures(net["seller"])) | set(figures(net["buyer"]))
    known |= {family.name for family in text_string_to_metric_families(exposition(of_bridge([])).decode())}
    names = set(re.findall(r"\bsatmeter_\w+", " ".join(asked_for())))
    assert len(asked_for()) > 15 and names and names <= known


def test_prometheus_takes_the_rules_and_the_figures(net, shop, tmp_path):
    """Debian's prometheus scrapes a node's figures under our rules; a meter that falls silent is an alert there."""
    lane("prometheus")
    board = shop.add()
    server = serve(Figures(node_of(net["seller"])), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rules, port = (CONTRIB / "prometheus-rules.yml").read_text(), free_port()
    (tmp_path / "rules.yml").write_text(re.sub(r"for: 2m", "for: 0s", rules))
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{tmp_path}/rules.yml]\n"
        "scrape_configs:\n  - job_name: satmeter\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{server.server_port}']}}]\n"
    )
    subprocess.run(["promtool", "check", "config", str(tmp_path / "prometheus.yml")], check=True, capture_output=True)
    options = ["--config.file", tmp_path / "prometheus.yml", "--storage.tsdb.path", tmp_path / "data"]
    command = ["prometheus", *map(str, options), "--web.listen-address", f"127.0.0.1:{port}"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answer(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}") as found:
                return json.loads(found.read())["data"]
        except OSError:
            return {}

    def alert(name):
        return [a for a in answer("alerts").get("alerts", ()) if a["labels"]["alertname"] == name]

    try:
        up = until(lambda: answer("query?query=satmeter_meter_heard").get("result"))
        assert [r["value"][1] for r in up if r["metric"]["meter"] == board.name] == ["1"]
        assert {rule["health"] for rule in answer("rules")["groups"][0]["rules"]} <= {"ok", "unknown"}
        (site,) = of_prometheus(f"http://127.0.0.1:{port}")
        assert site.name == f"127.0.0.1:{server.server_port}" and not site.trouble
        assert (site.meters[board.name].state, site.meters[board.name].heard) == ("standby", True)
        shop.forget(board)
        found = until(lambda: [a for a in alert("SatmeterMeterSilent") if a["labels"]["meter"] == board.name])
        assert f"Meter {board.name}: its board or device is not heard" in found[0]["annotations"]["summary"]
        for expression in asked_for():
            asked = urllib.parse.quote(expression.replace("$__range", "1h"))
            assert "result" in answer(f"query?query={asked}"), expression
        server.shutdown()
        server.server_close()
        until(lambda: of_prometheus(f"http://127.0.0.1:{port}")[0].trouble == "it can't be scraped")
    finally:
        running.terminate()
        running.wait(20)
        server.server_close()


def test_how_long_commits_and_payments_take_is_counted_for_both_sides(net, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board)
    board.use_all(300)
    close(net["buyer"], session)
    until(lambda: shop.receipt(session)["owed_msat"] == 0)
    payments = shop.receipt(session)["payments"]
    sold, bought = figures(net["seller"]), figures(net["buyer"])
    for found, plugin in ((sold, "meter"), (bought, "stream")):
        of = (("plugin", plugin),)
        for what in ("commit", "payment"):
            steps = found[f"satmeter_{what}_seconds_bucket"]
            counts = [steps[key] for key in sorted(steps, key=lambda labels: float(dict(labels)["le"]))]
            assert counts == sorted(counts) and counts[-1] == found[f"satmeter_{what}_seconds_count"][of] > 0
            assert found[f"satmeter_{what}_seconds_sum"][of] > 0
    assert bought["satmeter_payment_seconds_count"][(("plugin", "stream"),)] >= payments
    assert bought["satmeter_commit_seconds_count"][(("plugin", "stream"),)] >= payments

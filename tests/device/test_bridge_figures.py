"""What a bridge and the pages say of themselves to Prometheus."""

import socket
import urllib.request
from types import SimpleNamespace

import pytest
from any_device import made, steps
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from satmeter.cli.main import app
from satmeter.core.errors import BadParam
from satmeter.device.boundary import DeviceTrouble
from satmeter.device.figures import figures
from satmeter.panel import figures as of_panel
from satmeter.watch.server import exposition, in_background


def parsed(collector):
    found = {}
    for family in text_string_to_metric_families(exposition(collector).decode()):
        for sample in family.samples:
            found[sample.name, *sample.labels.values()] = sample.value
    return found


def test_an_outlets_figures_follow_what_it_does():
    outlet, device, seller = made()
    steps(outlet, 1)
    found = parsed(figures([outlet]))
    assert found["satmeter_bridge_trouble", "m"] == found["satmeter_bridge_valve_open", "m"] == 0
    assert found["satmeter_bridge_overshoot_ticks", "m"] == outlet.overshoot
    assert 0 <= found["satmeter_bridge_reading_age_seconds", "m"] < 60
    seller.grant = 20
    steps(outlet, 2)
    assert parsed(figures([outlet]))["satmeter_bridge_valve_open", "m"] == 1

    async def gone():
        raise DeviceTrouble("gone")

    device.read = gone
    steps(outlet, 1)
    found = parsed(figures([outlet]))
    assert found["satmeter_bridge_trouble", "m"] == 1 and found["satmeter_bridge_valve_open", "m"] == 0


def test_pages_are_troubled_only_while_somebody_looks_and_the_plugin_is_there():
    quiet = SimpleNamespace(pages=0, trouble="the node is away", missing=False)
    loud = SimpleNamespace(pages=2, trouble="the node is away", missing=False)
    other = SimpleNamespace(pages=1, trouble="no such plugin", missing=True)
    for sell, buy, troubled in ((quiet, loud, (0, 1)), (other, quiet, (0, 0))):
        found = parsed(of_panel.figures([SimpleNamespace(site="", sell=sell, buy=buy)]))
        assert (found["satmeter_panel_trouble", "sell"], found["satmeter_panel_trouble", "buy"]) == troubled
        assert found["satmeter_panel_pages", "sell"] == sell.pages


def test_they_are_served_beside_and_a_wrong_place_is_said_in_words(tmp_path):
    outlet, _, _ = made()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadParam, match=r"--metrics: 127\.0\.0\.1:.*in use"):
            in_background(figures([outlet]), where)
    server = in_background(figures([outlet]), where)
    try:
        with urllib.request.urlopen(f"http://{where}/metrics") as answer:
            assert b"satmeter_bridge_valve_open" in answer.read()
    finally:
        server.shutdown()
        server.server_close()
    config = tmp_path / "bridge.toml"
    config.write_text('[[meter]]\nname = "m"\nticks_per_unit = 1\n')
    for command in (["bridge", "--meter", "m", "--metrics", "9751"], ["bridge", "--meter", "m", "--metrics", "x:y"]):
        key = tmp_path / "key"
        key.write_text("00" * 32)
        key.chmod(0o600)
        done = CliRunner().invoke(app, [*command, "--key", str(key)], env={"COLUMNS": "200"})
        assert done.exit_code == 1 and "--metrics: must be HOST:PORT" in done.output, done.output

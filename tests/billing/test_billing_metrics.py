"""Figures of the service for Prometheus."""

import pytest

from satmeter.billing import metrics as metrics_module
from satmeter.billing.database import Database
from satmeter.billing.metrics import Metrics
from satmeter.journal.url import sqlite_url

NODE = "02" * 33


@pytest.fixture
def url(tmp_path):
    return sqlite_url(tmp_path / "b.sqlite3")


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

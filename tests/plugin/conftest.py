"""A service whose role has no node."""

import pytest
from role import Role

from satmeter.plugin import runtime
from satmeter.plugin.runtime import Runtime


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "RETRY_S", 0.05)
    made = Runtime(Role(tmp_path / "j.sqlite3"), "test")
    made.start()
    yield made
    made.stop()

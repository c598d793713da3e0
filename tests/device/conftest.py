"""What devices are tried with."""

import pytest

from broker import Broker
from lanes import lane


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """A mosquitto of the test's own."""
    lane("mosquitto", count=False)
    made = Broker(tmp_path_factory.mktemp("broker"))
    yield made
    made.stop()

"""What meter-reports answers for a reading that is refused."""

from satmeter.core.errors import Implausible
from satmeter.plugin.reading_rpc import _refused


def test_a_bridge_of_many_meters_is_told_as_much_as_one_of_few():
    """By `boot` and `board` a bridge knows that another one reports, and tells nothing twice."""
    error = _refused(Implausible("boot b1 was before", boot="b1"))["error"]
    assert error == {"code": Implausible.code, "message": "Implausible: boot b1 was before", "data": {"boot": "b1"}}


def test_a_bug_of_ours_is_named_by_its_kind_only():
    assert _refused(KeyError("secret"))["error"]["message"] == "internal error: KeyError"

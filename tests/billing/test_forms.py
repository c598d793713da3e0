"""Bodies of requests, as JSON and as forms."""

from hypothesis import given
from hypothesis import strategies as st

from satmeter.billing import forms as body
from satmeter.core.errors import BadParam


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

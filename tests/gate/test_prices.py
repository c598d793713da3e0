"""Which price a request has: by its method and path, however a stranger writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.gate.prices import Price, find, methods_of

PAID, FREE = Price("/weather/*", "weather", 1_000, ("GET",)), Price("/**", "", 0, ("GET",))


@pytest.mark.parametrize("path", ["/weather/paris", "/weather/paris/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_slash_at_the_end_and_head_cost_the_same(method, path):
    assert find((PAID, FREE), method, path) is PAID


@pytest.mark.parametrize("path", ["/private", "/private/", "/open/secret", "/open/secret/"])
def test_of_two_prices_with_and_without_the_slash_the_dearer_holds(path):
    dear = (Price("/private/", "private", 10_000), Price("/open/*/*", "secret", 5_000), Price("/**", "", 0))
    assert find(dear, "GET", path).msatoshi > 0
    assert find((Price("/open/*", "", 0), *dear), "GET", "/open/secret/").service == "secret"


def test_the_first_price_that_fits_holds():
    assert find((PAID, FREE), "GET", "/weather/paris/today") is FREE
    assert find((PAID,), "GET", "/weather/paris/today") is None and find((PAID, FREE), "POST", "/weather/paris") is None


def test_what_is_sold_at_a_path_is_said_by_method():
    both = (PAID, Price("/weather/*", "report", 2_000, ("POST",)))
    assert methods_of(both, "/weather/paris") == ("GET", "HEAD", "POST") and methods_of(both, "/news") == ()


@given(
    parts=st.lists(st.sampled_from(["a", "b", "", "\n", "a.b"]), max_size=4).map(lambda parts: ["", "a", *parts])
    | st.text(max_size=40).map(lambda text: text.split("/")),
    method=st.sampled_from(["GET", "POST", "DELETE"]),
)
def test_any_path_has_the_first_price_that_fits(parts, method):
    prices = (Price("/a/*", "one part", 1), Price("/a/**", "several", 2, ("GET",)))
    found = find(prices, method, "/".join(parts))
    both = (parts, parts[:-1] if parts[-1:] == [""] else [*parts, ""])
    lengths = [len(each) for each in both if each[:2] == ["", "a"]]
    service = "one part" if 3 in lengths else None
    if method == "GET" and max(lengths, default=0) > 3:
        service = "several"
    assert (found.service if found else None) == service

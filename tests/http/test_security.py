import pytest

from satmeter.http.security import is_cross_site

OURS = ("shop.example", "shop.example:8443")


@pytest.mark.parametrize(
    ("origin", "fetch_site", "cross"),
    [
        (None, "same-origin", False),
        (None, "none", False),
        ("https://shop.example", "same-origin", False),
        ("https://SHOP.example:8443", "same-origin", False),
        ("https://shop.example:1", "same-origin", True),
        ("https://evil.example", "same-origin", True),
        ("null", "same-origin", True),
        ("https://[", "same-origin", True),
        (None, "cross-site", True),
        (None, "same-site", True),
        ("https://shop.example", "cross-site", True),
    ],
)
def test_requests_of_other_sites_pages_are_known(origin, fetch_site, cross):
    assert is_cross_site(origin, OURS, fetch_site) is cross

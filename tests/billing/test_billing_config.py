"""The config of the billing service."""

import pytest

from satmeter.billing import config
from satmeter.core.errors import BadParam


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("prot = 1", "prot"),
        ("port = 0", "port"),
        ("port = 'x'", "port"),
        ("workers = 4", "workers"),
        ("invoice_cap_msat = -1", "invoice_cap_msat"),
        ("public_url = 'ftp://x'", "public_url"),
        ("rates = {EUR = 'x'}", "rates"),
        ("rates = {eur = 5}", "rates"),
        ("rates = {EUR = 0}", "rates"),
        ("hook_hosts = 'x'", "hook_hosts"),
        ("host = 5", "host"),
        ("database = 'mysql://x@y/z'", "database: must be sqlite:////PATH or postgresql://"),
        ("database = 'postgresql://x@y:abc/z'", "database: must be"),
        ("[", r"c\.toml: \w+"),
    ],
)
def test_a_config_that_is_wrong_is_refused_before_anything_starts(tmp_path, text, why):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(BadParam, match=why):
        config.load(path)


def test_a_config_that_is_right(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('port = 9000\npayment_cap_msat = "50sat"\nrates = {EUR = "60000.5"}\n')
    found = config.load(path)
    assert (found.port, found.payment_cap_msat, str(found.rates["EUR"])) == (9000, 50_000, "60000.5")


def test_a_database_may_be_the_path_of_a_file(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(f"database = '{tmp_path}/my.sqlite3'\n")
    assert config.load(path).database == f"sqlite:///{tmp_path}/my.sqlite3"

"""The seller's options as figures of the core: seconds there are milliseconds here."""

from satmeter.plugin import meter_options


class Plugin:
    """Keeps what is declared, and has the default of each option but those that are given."""

    def __init__(self, **given):
        self.options = {}
        self.given = {name.replace("_", "-"): value for name, value in given.items()}

    def add_option(self, name, default, description, **more):
        self.options[name] = default

    def get_option(self, name):
        return self.given.get(name, self.options[name])


def read(**given):
    plugin = Plugin(**given)
    meter_options.add(plugin)
    return meter_options.read(plugin)


def test_a_silent_board_is_waited_for_in_seconds():
    assert (read().limits.silent_ms, read().limits.unheard_ms) == (15_000, 600_000)
    limits = read(meter_silent_s="30", meter_unheard_s="1200").limits
    assert (limits.silent_ms, limits.unheard_ms) == (30_000, 1_200_000)


def test_what_is_given_is_taken():
    found = read(meter_max_sessions_per_peer="7", meter_refund_maxfee_msat="0", meter_fiat="eur", meter_feerate="253")
    assert (found.limits.sessions_per_peer, found.limits.refund_maxfee_msat) == (7, 0)
    assert (found.currency, found.feerate, found.bitcoind) == ("EUR", 253, None)


def test_a_remainder_is_kept_where_its_owner_can_find_it():
    assert read().limits.remainder_own_ms == 0
    assert read(meter_url="https://shop.example").limits.remainder_own_ms > 0

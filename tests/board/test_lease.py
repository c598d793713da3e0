"""Who may have a serial port: a bridge of any user sees that somebody flashes."""

import os
import stat

from satmeter.board import lease


def test_a_lease_is_seen_by_every_user_whatever_the_umask(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "path_of", lambda port: tmp_path / "x.lease")
    before = os.umask(0o077)
    try:
        assert not lease.wanted("x")
        with lease.Lease("x"):
            assert stat.S_IMODE((tmp_path / "x.lease").stat().st_mode) == 0o644
            assert lease.wanted("x")
        assert not lease.wanted("x")
    finally:
        os.umask(before)

"""Any message of any peer, at any time: it raises nothing, and the session it meddles with still comes to its end."""

from hypothesis import given, settings
from hypothesis import strategies as st
from world import BUYER_ID, SELLER_ID, SESSION, World

from satmeter.core import commands as cmd
from satmeter.core import messages as msg

STRANGER = "02" + "cc" * 32
numbers = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))
texts = st.one_of(st.sampled_from(["", "{}", "m", "[]", '{"price_msat":1}', "buyer", "seller"]), st.text(max_size=30))
sessions = st.sampled_from([SESSION, "ab" * 16])
FIELDS = {
    msg.Open: (texts,),
    msg.Terms: (texts, texts, numbers),
    msg.Agree: (),
    msg.Invoice: (numbers, numbers, texts, numbers, numbers, numbers, texts),
    msg.Low: (numbers, numbers),
    msg.Close: (st.sampled_from(["buyer", "seller"]), texts, numbers, texts),
    msg.Receipt: (texts, texts),
    msg.Error: (st.sampled_from(["buyer", "seller"]), numbers, texts, numbers),
    msg.Increment: (numbers, numbers, numbers, numbers, texts, numbers, numbers, numbers, numbers),
    msg.Update: (numbers, numbers, texts, texts),
    msg.Taken: (numbers, numbers, numbers),
}
messages = st.one_of(*(st.builds(cls, sessions, numbers, *fields) for cls, fields in FIELDS.items()))


@settings(max_examples=150)
@given(
    meddling=st.lists(st.tuples(st.sampled_from(["seller", "buyer"]), st.booleans(), messages), max_size=12),
    arrears=st.booleans(),
)
def test_any_messages_at_any_time(meddling, arrears):
    w = World({"mode": "arrears", "limit_msat": 20_000} if arrears else {})
    w.open()
    for to, strange, message in meddling:
        w.now += 100
        if to == "seller":
            w.sell(cmd.FromPeer(peer=STRANGER if strange else BUYER_ID, message=message))
        else:
            w.buy(w.received(message, STRANGER if strange else SELLER_ID))
        w.pump()
    for p in list(w.buyer.state.streams.values()):
        w.buy(cmd.CloseStream(session=p.id))
    w.pump()
    if w.meter.session:
        w.sell(cmd.CloseSession(session=w.meter.session)) if not w.seller.state.session(
            w.meter.session
        ).ending else None
    w.pass_ms(300_000, step=5_000)
    assert w.meter.state in ("standby", "lockout") and not w.meter.session
    for s in w.seller.state.sessions.values():
        assert s.paid_msat == sum(row[0] for label, row in w.invoices.items() if s.id in label and row[1] == "paid")

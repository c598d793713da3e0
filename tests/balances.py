"""What every way to put a state together has to agree on: the money of each session or stream, and its state."""

from satmeter.core.seller.state import SellerState


def balances(state):
    if isinstance(state, SellerState):
        meters = {
            each.subject: (each.state, each.session, each.offset, each.recorded) for each in state.meters.values()
        }
        return {each.id: (each.head, *sold(each), each.state) for each in state.sessions.values()} | meters
    return {each.id: (*bought(each), each.state, each.closing.revision) for each in state.streams.values()}


def sold(session):
    return session.received_msat, session.spent_msat, session.refunded_msat, session.taken_msat, session.lapsed_msat


def bought(stream):
    return stream.paid_msat, stream.sent_msat, stream.payments, stream.carried_msat, stream.in_flight_msat

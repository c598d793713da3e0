"""Messages of sellers: whose they are, and what is answered to the others."""

import pytest
from liar import Liar
from world import SELLER_ID, SESSION

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.errors import UnknownSession
from statement import statement

ANOTHER = "02" + "99" * 32


@pytest.mark.parametrize(
    "message",
    [
        msg.Close(SESSION, 7, msg.SELLER, "over", 0, ""),
        msg.Low(SESSION, 7, 5, 100),
        msg.Error(SESSION, 7, msg.SELLER, UnknownSession.code, "no"),
    ],
)
def test_a_stream_is_none_of_another_nodes_business(message):
    w = Liar()
    before = len(w.events)
    step = w.tell(cmd.FromPeer(peer=ANOTHER, message=message))
    assert len(w.events) == before and w.p.state == "streaming"
    answers = [(a.peer, a.message.code) for a in step.effects if isinstance(a, do.Send)]
    assert answers == ([] if isinstance(message, msg.Error) else [(ANOTHER, UnknownSession.code)])


def test_what_is_signed_and_no_receipt_is_called_so():
    w = Liar()
    w.tell(cmd.ReceiptChecked(session=SESSION, text="{}", signature="sig", verified=True, arrivals={}))
    assert "not a receipt" in w.p.refusals[-1].why
    w.tell(
        cmd.ReceiptChecked(
            session=SESSION,
            text=statement(session=SESSION, seller=SELLER_ID),
            signature="sig",
            verified=False,
            arrivals={},
        )
    )
    assert "signature" in w.p.refusals[-1].why

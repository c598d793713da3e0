"""The refund of a session: what its seller gives back once it is over."""

from dataclasses import dataclass, field

from ..states import RefundState

UNRECORDED = "unrecorded"


@dataclass(slots=True)
class Refund:
    """What is given back at the end: owed, being paid, paid. Several may follow one another.

    `amount_msat` is to arrive by the one under way, for a fee of `maxfee_msat` at most, of which the seller bears
    `borne_msat`.
    """

    state: RefundState = RefundState.NONE
    bolt11: str = ""
    used: list[str] = field(default_factory=list)
    """Refund invoices that were paid, or can't be: a repeated Close may not offer them again."""
    invoice_msat: int = 0
    """What the invoice asks for; 0 where it has no amount, and takes what is paid."""
    number: int = 0
    """Of a bearer: the number of the wallet invoice that is refunded; 0: all that the session owes."""
    given: dict[int, int] = field(default_factory=dict)
    """What each wallet invoice's payer got back by it (msat), fees that the refunds bear included."""
    tries: dict[int, int] = field(default_factory=dict)
    """How many refund invoices were used up for each."""
    failed_at: int = 0
    """When one that was asked for failed for good."""
    claimed_msat: int = 0
    """What the buyer says that it paid."""
    payment_hash: str = ""
    """Of its invoice; it is recorded before the node is first asked to pay. UNRECORDED: the
    refund was begun by a version that recorded no hash, and the node may have been asked."""
    amount_msat: int = 0
    maxfee_msat: int = 0
    borne_msat: int = 0
    attempts: int = 0
    """How many tries to pay were started in this session: the number of the newest."""
    why: str = ""
    """Why the newest try failed."""
    held: bool = False
    """Whether what is owed waits for a person: the state is of an older copy of the journal."""

    @property
    def under_way(self) -> bool:
        """Whether a refund payment was started whose outcome is not known yet."""
        return self.state == RefundState.PAYING

"""The node's RPC, as the plugins use it: each call stands here once, its errors made ours (who pays: payments.py).

Every call opens its own connection, so any thread may call. Facts behind the odd turns are in docs/operating.md.
"""

import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from pyln.client import LightningRpc, RpcError

from ..core.errors import BadParam, NodeTrouble
from ..core.plain import JsonObject

INVOICE_LABEL_TAKEN = 900
WAIT_TIMED_OUT = 904
PLUGIN_GONE = -4
OFFER_INACTIVE, OFFER_ACTIVE = 1001, 1006
"""An offer that is to be disabled, or enabled, is so already."""
UNKNOWN_COMMAND, INVALID_PARAMS = -32601, -32602


@dataclass(frozen=True, slots=True)
class Made:
    """An invoice as the node has it; `hash` is its payment hash.

    `status` is unpaid, paid or expired. `amount_msat` is None for an invoice without an amount.
    `received_msat` and `index` (its pay_index) are 0 until it is paid. `expires_at` is in seconds since
    1970."""

    status: str
    bolt11: str
    hash: str
    amount_msat: int | None = None
    received_msat: int = 0
    index: int = 0
    expires_at: int = 0
    payer_note: str = ""
    """What who fetched it by an offer wrote."""
    paid_at: int = 0
    """In seconds since 1970; 0 until it is paid."""


def code_of(error: RpcError) -> int:
    """Return the error's number; a waiter's error can be a bare string when the node stops."""
    return int(error.error.get("code", 0)) if isinstance(error.error, dict) else 0


def data_of(error: RpcError) -> JsonObject:
    """Return what an error says beside its words, by name; {} for nothing."""
    data = error.error.get("data") if isinstance(error.error, dict) else None
    return data if isinstance(data, dict) else {}


def words_of(error: Exception) -> str:
    """Returns the message of an error; of an RPC error the node's, which can be bare text when it stops."""
    if not isinstance(error, RpcError):
        return str(error)
    return str(error.error.get("message", error.error)) if isinstance(error.error, dict) else str(error.error)


@dataclass(frozen=True, slots=True)
class StandingOffer:
    """An offer (BOLT 12) as the node has it; `active`: it gives invoices for it."""

    offer_id: str
    bolt12: str
    active: bool
    label: str


class Node:
    """A node's RPC socket at `path`; with `timeout_s` a call that takes longer is given up as NodeTrouble."""

    def __init__(self, path: str, timeout_s: float = 0):
        self.path, self._timeout_s = path, timeout_s
        self._rpc = LightningRpc(path, logger=logging.getLogger("satmeter.rpc"))

    def call(self, method: str, **params: object) -> JsonObject:
        """Call a method; RpcError from the node, NodeTrouble where it can't be reached or answers nonsense."""
        try:
            answer = self._answer(method, params)
        except RpcError as error:
            if isinstance(error.error, dict):
                raise
            # Bare words are pyln's, or a node's that is stopping: the connection is gone, and nothing was decided.
            raise NodeTrouble(f"{method}: the node at {self.path} went away: {error.error}", path=self.path) from error
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise NodeTrouble(f"{method}: the node at {self.path} does not answer: {why}", path=self.path) from error
        if not isinstance(answer, dict):
            raise NodeTrouble(f"{method}: the node at {self.path} answered {answer!r}", path=self.path)
        return answer

    def _answer(self, method: str, params: JsonObject) -> object:
        if not self._timeout_s:
            return self._rpc.call(method, params)
        answer: Future[object] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._rpc.call(method, params))
            except Exception as error:
                answer.set_exception(error)

        threading.Thread(target=ask, name="satmeter-rpc", daemon=True).start()
        try:
            return answer.result(self._timeout_s)
        except TimeoutError:
            why = f"{method}: the node at {self.path} does not answer within {self._timeout_s:g} s"
            raise NodeTrouble(why, path=self.path) from None

    def info(self) -> JsonObject:
        """Returns the answer of getinfo, such as id, network, blockheight and address."""
        return self.call("getinfo")

    def cltv_final(self) -> int:
        """Return how many blocks the node wants between now and the expiry of an HTLC that is for itself."""
        return int(self.call("listconfigs", config="cltv-final")["configs"]["cltv-final"]["value_int"])

    # --- invoices

    def invoice(
        self,
        label: str,
        amount_msat: int | None,
        description: str,
        expiry_s: int,
        hash_only: bool = False,
        renew: bool = False,
    ) -> Made:
        """Makes an invoice, or finds the one that has this label already.

        Args:
            label: Its label; an invoice of it that is paid, or of the same amount, is returned as is.
            amount_msat: Its amount; None makes an invoice without one. An invoice of this label
                with another amount that is not paid was made ahead and not sent: it is replaced.
            description: What a wallet shows.
            expiry_s: How long it can be paid, in s from now.
            hash_only: Whether the invoice holds only the description's hash.
            renew: Whether an expired invoice of this label is replaced as well.
        """
        amount: int | str = "any" if amount_msat is None else amount_msat
        what: JsonObject = {"amount_msat": amount, "label": label, "description": description, "expiry": expiry_s}
        if hash_only:
            what["deschashonly"] = True
        try:
            made = self.call("invoice", **what)
        except RpcError as error:
            if code_of(error) != INVOICE_LABEL_TAKEN:
                raise
            found = self.find_invoice(label)
            if found is None:
                raise
            expired = renew and found.status == "expired"
            if found.status == "paid" or (found.amount_msat == amount_msat and not expired):
                return found
            self.call("delinvoice", label=label, status=found.status)
            made = self.call("invoice", **what)
        return Made("unpaid", made["bolt11"], made["payment_hash"], amount_msat, expires_at=int(made["expires_at"]))

    def find_invoice(self, label: str) -> Made | None:
        """Returns the invoice of a label, as listinvoices has it; None where there is none."""
        found = self.call("listinvoices", label=label)["invoices"]
        return _made(found[0]) if found else None

    def delete_invoice(self, label: str) -> Made | None:
        """Delete an unpaid invoice. Returns None where it is gone, else how it stands (it was paid meanwhile)."""
        try:
            self.call("delinvoice", label=label, status="unpaid")
        except RpcError:
            found = self.find_invoice(label)
            if found is not None and found.status == "expired":
                return None
            return found
        return None

    def next_paid(self, index: int, timeout_s: int) -> tuple[str, Made] | None:
        """Return (label, invoice) of the first payment after a pay_index, None if none comes in time."""
        try:
            found = self.call("waitanyinvoice", lastpay_index=index, timeout=timeout_s)
        except RpcError as error:
            if code_of(error) == WAIT_TIMED_OUT:
                return None
            raise
        return found["label"], _made(found)

    def newest_index(self) -> int:
        """Return the newest pay_index that the node can still show, by bisection: listing all could be millions."""
        low, high = 0, 1
        while (found := self.next_paid(high, 0)) is not None:
            low, high = found[1].index, max(high, found[1].index) * 2
        if low == 0 and self.next_paid(0, 0) is None:
            return 0
        while low + 1 < high:
            middle = (low + high) // 2
            found = self.next_paid(middle, 0)
            if found is None:
                high = middle
            else:
                low = found[1].index
        return high if self.next_paid(low, 0) is not None else low

    def invoices_created(self) -> int:
        """Return how many invoices the node ever made; its pay_index can't be beyond that."""
        return int(self.call("wait", subsystem="invoices", indexname="created", nextvalue=0)["created"])

    def newest_labels(self, most: int) -> list[str]:
        """Return the labels of the newest invoices that the node made and still has."""
        start = max(1, self.invoices_created() - most + 1)
        rows = self.call("listinvoices", index="created", start=start, limit=most)["invoices"]
        return [str(row["label"]) for row in rows]

    def decode(self, text: str) -> JsonObject:
        """Returns what the node's decode has for an invoice or an offer.

        Raises:
            BadParam: The text is none; the message has the node's words.
            NodeTrouble: The node can't decode just now, as while its plugin for that starts: ask again.
        """
        try:
            return self.call("decode", string=text)
        except RpcError as error:
            if code_of(error) != INVALID_PARAMS:
                raise NodeTrouble(f"the node can't decode an invoice: {words_of(error)}") from None
            raise BadParam(words_of(error)) from None

    def new_address(self) -> str:
        """Return a fresh taproot address of the node's wallet."""
        return str(self.call("newaddr", addresstype="p2tr")["p2tr"])

    # --- offers

    def offers(self, prefix: str) -> list[StandingOffer]:
        """Returns all offers whose label begins with `prefix`, ended ones too."""
        try:
            rows = self.call("listoffers")["offers"]
        except RpcError as error:
            if code_of(error) == UNKNOWN_COMMAND:  # the node's plugin for offers is disabled
                return []
            raise
        return [_offer(row) for row in rows if str(row.get("label", "")).startswith(prefix)]

    def make_offer(self, label: str, amount_msat: int, description: str) -> StandingOffer:
        """Makes an offer of an amount, 0 for any; each call makes another one."""
        amount = f"{amount_msat}msat" if amount_msat else "any"
        return _offer(self.call("offer", amount=amount, description=description, label=label))

    def switch_offer(self, offer_id: str, active: bool) -> bool:
        """Has the node answer an offer, or not; returns how it is now. RpcError for an offer that is not there."""
        try:
            self.call("enableoffer" if active else "disableoffer", offer_id=offer_id)
        except RpcError as error:
            if code_of(error) not in (OFFER_INACTIVE, OFFER_ACTIVE):
                raise
        return active

    # --- peers, signatures and secrets

    def secret(self, what: str) -> bytes:
        """Return 32 bytes that only this node has, for a purpose; the same each time."""
        return bytes.fromhex(str(self.call("makesecret", string=what)["secret"]))

    def connect(self, peer: str, address: str) -> None:
        """Connect to a peer unless it is connected; RpcError with the node's reason."""
        peers = self.call("listpeers", id=peer)["peers"]
        if peers and peers[0]["connected"]:
            return
        host, _, port = address.rpartition(":")
        if host:
            self.call("connect", id=peer, host=host, port=int(port))
        else:
            self.call("connect", id=peer)

    def send(self, peer: str, data: bytes) -> None:
        """Sends bytes as a custom message (sendcustommsg); RpcError where the peer is not connected."""
        self.call("sendcustommsg", node_id=peer, msg=data.hex())

    def sign(self, text: str) -> str:
        """Returns the signature of a text by the node's key, in zbase32 (signmessage)."""
        return str(self.call("signmessage", message=text)["zbase"])


def _made(row: JsonObject) -> Made:
    paid = row["status"] == "paid"
    return Made(
        row["status"],
        row.get("bolt11", ""),
        row["payment_hash"],
        int(row["amount_msat"]) if "amount_msat" in row else None,
        int(row["amount_received_msat"]) if paid else 0,
        int(row["pay_index"]) if paid else 0,
        int(row["expires_at"]),
        str(row.get("invreq_payer_note", "")),
        int(row.get("paid_at", 0)),
    )


def _offer(row: JsonObject) -> StandingOffer:
    return StandingOffer(str(row["offer_id"]), str(row["bolt12"]), bool(row["active"]), str(row.get("label", "")))

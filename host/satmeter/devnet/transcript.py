"""Transcripts: each node RPC that we use, asked of a network, with the shape of its answer or its error number.

Recorded from real nodes (`satmeter devnet record`) they are what the emulated node is held to: its answers may lack
fields that nobody reads (NEEDED tells which are read), but have none of their own, and no other type or error.
"""

import secrets
from typing import Protocol

from pyln.client import LightningRpc, RpcError

from ..core.plain import JsonObject, Plain
from ..node.rpc import code_of
from . import Devnet

NEEDED: dict[str, set[str]] = {
    "getinfo": {"id", "alias", "version", "network", "blockheight"},
    "invoice": {"bolt11", "payment_hash", "payment_secret", "expires_at"},
    "listinvoices paid": {"label", "status", "bolt11", "payment_hash", "pay_index", "amount_received_msat"},
    "listinvoices unpaid": {"label", "status", "bolt11", "payment_hash", "expires_at"},
    "waitanyinvoice": {"label", "status", "pay_index", "amount_received_msat", "payment_hash"},
    "wait": {"subsystem", "created"},
    "xpay": {"payment_preimage", "amount_msat", "amount_sent_msat"},
    "listconfigs": {"configs"},
    "sendpay": {"status"},
    "waitsendpay": {"status", "amount_msat", "amount_sent_msat"},
    "listsendpays complete": {"status", "amount_msat", "amount_sent_msat"},
    "listsendpays failed": {"status", "amount_msat", "amount_sent_msat"},
    "listpays complete": {"status", "amount_msat", "amount_sent_msat", "payment_hash"},
    "decode": {
        "type",
        "valid",
        "payee",
        "amount_msat",
        "payment_hash",
        "created_at",
        "expiry",
        "min_final_cltv_expiry",
    },
    "decode of a hash": {"type", "valid", "payee", "amount_msat", "payment_hash", "description_hash"},
    "makesecret": {"secret"},
    "offer": {"offer_id", "bolt12", "active"},
    "listoffers": {"offer_id", "bolt12", "active", "label"},
    "fetchinvoice": {"invoice"},
    "decode of its invoice": {
        "type",
        "valid",
        "invoice_payment_hash",
        "invoice_amount_msat",
        "invoice_created_at",
        "invoice_node_id",
    },
    "waitanyinvoice of an offer": {"label", "local_offer_id", "invreq_payer_note", "amount_received_msat"},
    "decode amountless": {"type", "valid", "payee", "payment_hash"},
    "signmessage": {"zbase"},
    "newaddr": {"bech32"},
    "newaddr p2tr": {"p2tr"},
    "listfunds": {"outputs"},
    "fundpsbt": {"psbt"},
    "utxopsbt": {"psbt", "change_outnum", "reservations"},
    "signpsbt": {"signed_psbt"},
    "sendpsbt": {"txid", "tx"},
    "reserveinputs": {"txid", "vout", "reserved"},
    "feerates": {"perkw"},
    "getutxout": {"amount", "script"},
    "getutxout spent": {"amount", "script"},
    "getrawblockbyheight": {"block"},
    "getrawblockbyheight beyond": {"block"},
    "checkmessage": {"verified"},
    "listdatastore": {"string"},
    "listpeers": {"id", "connected"},
    "connect": {"id"},
    "sendcustommsg": {"status"},
    "listpeerchannels": {
        "to_us_msat",
        "total_msat",
        "spendable_msat",
        "receivable_msat",
        "state",
        "peer_id",
        "peer_connected",
        "short_channel_id",
        "minimum_htlc_out_msat",
        "maximum_htlc_out_msat",
    },
}
"""Fields that our code or a user of a devnet reads, by step; those of a list are of its first item."""


def shape(value: object) -> object:
    """Return the types in an answer: a dictionary by field, a list by its first item."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def run(net: Devnet) -> Plain:
    """Ask every step of `net` (the trio: seller, hop, buyer) and return {step: shape or {"error": number}}."""
    seller, buyer = net["seller"].rpc, net["buyer"].rpc
    seller_id = net["seller"].id
    said: Plain = {}

    def step(name: str, rpc: LightningRpc, method: str, **params: object) -> JsonObject:
        try:
            answer: JsonObject = rpc.call(method, params)
        except RpcError as error:
            said[name] = {"error": code_of(error)}
            return {}
        said[name] = shape(answer)
        return answer

    tag = secrets.token_hex(4)
    _invoices(step, seller, buyer, tag)
    _payments(step, seller, buyer, tag)
    _offers(step, seller, buyer, tag)
    _peers(step, seller, buyer, seller_id)
    net.fund("buyer", 100_000)
    _wallet(step, seller, buyer)
    _datastore(step, seller, tag)
    return said


class Step(Protocol):
    """Asks a step of a node, by its name; {} for an error. Its answer's shape is what is looked at."""

    def __call__(self, name: str, rpc: LightningRpc, method: str, **params: object) -> JsonObject:
        """Calls `method` on a node and records its answer's shape as step `name`."""


def _invoices(step: Step, seller: LightningRpc, buyer: LightningRpc, tag: str) -> None:
    step("getinfo", seller, "getinfo")
    step("unknown method", seller, "no-such-method")
    step("listconfigs", seller, "listconfigs", config="cltv-final")
    made = step("invoice", seller, "invoice", amount_msat=2000, label=f"a{tag}", description="a", expiry=600)
    step("invoice label taken", seller, "invoice", amount_msat=2000, label=f"a{tag}", description="a")
    step("invoice without description", seller, "invoice", amount_msat=2000, label=f"b{tag}")
    step("invoice of nonsense", seller, "invoice", amount_msat="many", label=f"b{tag}", description="b")
    step("listinvoices unpaid", seller, "listinvoices", label=f"a{tag}")
    step("listinvoices unknown", seller, "listinvoices", label=f"none{tag}")
    step("decode", buyer, "decode", string=made["bolt11"])
    amountless = step("invoice any", buyer, "invoice", amount_msat="any", label=f"any{tag}", description="any")
    step("decode amountless", seller, "decode", string=amountless["bolt11"])
    hashed = step(
        "invoice of a hash", buyer, "invoice", amount_msat=1, label=f"h{tag}", description="h" * 700, deschashonly=True
    )
    step("decode of a hash", seller, "decode", string=hashed["bolt11"])
    step("makesecret", seller, "makesecret", string="x")
    step("makesecret of nothing", seller, "makesecret")
    step("decode of nonsense", seller, "decode", string="lnbcrt1nonsense")
    step("wait", seller, "wait", subsystem="invoices", indexname="created", nextvalue=0)
    step("waitanyinvoice in vain", seller, "waitanyinvoice", lastpay_index=10**9, timeout=0)
    step("delinvoice unknown", seller, "delinvoice", label=f"none{tag}", status="unpaid")
    extra = f"extra{tag}"
    step("invoice to delete", seller, "invoice", amount_msat=1000, label=extra, description="x")
    step("delinvoice wrong status", seller, "delinvoice", label=extra, status="paid")
    step("delinvoice", seller, "delinvoice", label=extra, status="unpaid")


def _payments(step: Step, seller: LightningRpc, buyer: LightningRpc, tag: str) -> None:
    made = seller.call("listinvoices", {"label": f"a{tag}"})["invoices"][0]
    bolt11, payment_hash = made["bolt11"], made["payment_hash"]
    step("listpays none", buyer, "listpays", payment_hash=payment_hash)
    step("xpay", buyer, "xpay", invstring=bolt11, maxfee=1000, maxdelay=500)
    step("xpay again", buyer, "xpay", invstring=bolt11, maxfee=1000, maxdelay=500)
    step("listpays complete", buyer, "listpays", payment_hash=payment_hash)
    step("listinvoices paid", seller, "listinvoices", label=f"a{tag}")
    paid = seller.call("listinvoices", {"label": f"a{tag}"})["invoices"][0]
    step("waitanyinvoice", seller, "waitanyinvoice", lastpay_index=paid["pay_index"] - 1, timeout=5)
    step("delinvoice paid as unpaid", seller, "delinvoice", label=f"a{tag}", status="unpaid")
    step("listsendpays complete", buyer, "listsendpays", payment_hash=payment_hash)
    gone = seller.call("invoice", {"amount_msat": 1000, "label": f"gone{tag}", "description": "x"})
    seller.call("delinvoice", {"label": f"gone{tag}", "status": "unpaid"})
    step("xpay unknown to the payee", buyer, "xpay", invstring=gone["bolt11"], maxfee=1000)
    step("listpays failed", buyer, "listpays", payment_hash=gone["payment_hash"])
    step("listsendpays failed", buyer, "listsendpays", payment_hash=gone["payment_hash"])
    _direct(step, seller, buyer, tag)
    big = seller.call("invoice", {"amount_msat": 10**12, "label": f"big{tag}", "description": "x"})
    step("xpay too much", buyer, "xpay", invstring=big["bolt11"], maxfee=1000)
    step("xpay of nonsense", buyer, "xpay", invstring="lnbcrt1nonsense")
    amountless = buyer.call("invoice", {"amount_msat": "any", "label": f"any2{tag}", "description": "x"})
    step("xpay amountless without amount", seller, "xpay", invstring=amountless["bolt11"], maxfee=1000)
    step("xpay amountless", seller, "xpay", invstring=amountless["bolt11"], amount_msat=3000, maxfee=1000)
    over = seller.call("invoice", {"amount_msat": 1000, "label": f"over{tag}", "description": "x"})
    step("xpay with an amount", buyer, "xpay", invstring=over["bolt11"], amount_msat=1500, maxfee=1000)


def _offers(step: Step, seller: LightningRpc, buyer: LightningRpc, tag: str) -> None:
    made = step("offer", seller, "offer", amount="any", description=f"d{tag}", label=f"o{tag}")
    fixed = step("offer of an amount", seller, "offer", amount="2000msat", description=f"d{tag}")
    step("offer of nonsense", seller, "offer", amount="lots", description=f"d{tag}")
    step("listoffers", seller, "listoffers", offer_id=made["offer_id"])
    step("listoffers unknown", seller, "listoffers", offer_id="00" * 32)
    step("decode of an offer", buyer, "decode", string=made["bolt12"])
    step("decode of an offer of an amount", buyer, "decode", string=fixed["bolt12"])
    step("fetchinvoice without an amount", buyer, "fetchinvoice", offer=made["bolt12"])
    step("fetchinvoice of nonsense", buyer, "fetchinvoice", offer="lno1nonsense", amount_msat=1)
    fetched = step("fetchinvoice", buyer, "fetchinvoice", offer=made["bolt12"], amount_msat=3000, payer_note="thanks")
    step("fetchinvoice under its amount", buyer, "fetchinvoice", offer=fixed["bolt12"], amount_msat=1000)
    found = step("decode of its invoice", buyer, "decode", string=fetched["invoice"])
    payment_hash = found["invoice_payment_hash"]
    step("listinvoices of an offer", seller, "listinvoices", payment_hash=payment_hash)
    step("xpay of its invoice", buyer, "xpay", invstring=fetched["invoice"], maxfee=1000, maxdelay=500)
    step("xpay of its invoice again", buyer, "xpay", invstring=fetched["invoice"], maxfee=1000, maxdelay=500)
    step("listsendpays of its invoice", buyer, "listsendpays", payment_hash=payment_hash)
    paid = step("listinvoices of an offer paid", seller, "listinvoices", payment_hash=payment_hash)["invoices"][0]
    step("waitanyinvoice of an offer", seller, "waitanyinvoice", lastpay_index=paid["pay_index"] - 1, timeout=5)
    step("xpay of an offer", buyer, "xpay", invstring=made["bolt12"], amount_msat=4000, maxfee=1000, maxdelay=500)
    step("xpay of an offer without an amount", buyer, "xpay", invstring=made["bolt12"])
    step("xpay of an offer of another amount", buyer, "xpay", invstring=fixed["bolt12"], amount_msat=2500)
    step("disableoffer", seller, "disableoffer", offer_id=made["offer_id"])
    step("disableoffer again", seller, "disableoffer", offer_id=made["offer_id"])
    step("xpay of a disabled offer", buyer, "xpay", invstring=made["bolt12"], amount_msat=4000, maxfee=1000)
    step("enableoffer", seller, "enableoffer", offer_id=made["offer_id"])
    step("enableoffer again", seller, "enableoffer", offer_id=made["offer_id"])
    step("enableoffer unknown", seller, "enableoffer", offer_id="00" * 32)


def _direct(step: Step, seller: LightningRpc, buyer: LightningRpc, tag: str) -> None:
    """Asks the steps of sendpay and waitsendpay, over the buyer's channel with the seller."""
    seller_id = seller.call("getinfo")["id"]
    channel = buyer.call("listpeerchannels", {"id": seller_id})["channels"][0]["short_channel_id"]

    def hop(over: str, amount_msat: int = 1000) -> list[JsonObject]:
        return [{"id": seller_id, "channel": over, "amount_msat": amount_msat, "delay": 20}]

    def made(label: str) -> tuple[JsonObject, JsonObject]:
        found = seller.call("invoice", {"amount_msat": 1000, "label": label + tag, "description": "x"})
        return found, {each: found[each] for each in ("payment_hash", "payment_secret", "bolt11")}

    _, given = made("direct")
    step("sendpay over no channel", buyer, "sendpay", route=hop("1x1x1"), **given)
    step("sendpay", buyer, "sendpay", route=hop(channel), **given)
    step("waitsendpay", buyer, "waitsendpay", payment_hash=given["payment_hash"])
    step("sendpay again", buyer, "sendpay", route=hop(channel), **given)
    step("sendpay again of another amount", buyer, "sendpay", route=hop(channel, 1001), **given)
    step("xpay of what sendpay paid", buyer, "xpay", invstring=given["bolt11"])
    _, given = made("crossed")
    buyer.call("xpay", {"invstring": given["bolt11"]})
    step("sendpay of what xpay paid", buyer, "sendpay", route=hop(channel), **given)
    _, given = made("quick")
    step("xpay within too few blocks", buyer, "xpay", invstring=given["bolt11"], maxdelay=1)
    _, given = made("lost")
    seller.call("delinvoice", {"label": f"lost{tag}", "status": "unpaid"})
    step("sendpay unknown to the payee", buyer, "sendpay", route=hop(channel), **given)
    step("waitsendpay unknown to the payee", buyer, "waitsendpay", payment_hash=given["payment_hash"])
    _, given = made("huge")
    step("sendpay too much", buyer, "sendpay", route=hop(channel, 10**12), **given)
    step("waitsendpay too much", buyer, "waitsendpay", payment_hash=given["payment_hash"])
    step("waitsendpay of nothing", buyer, "waitsendpay", payment_hash="00" * 32)


def _wallet(step: Step, seller: LightningRpc, buyer: LightningRpc) -> None:
    step("newaddr p2tr", buyer, "newaddr", addresstype="p2tr")
    step("newaddr of nonsense", buyer, "newaddr", addresstype="p2nonsense")
    step("listfunds", buyer, "listfunds", spent=True)
    free = [
        output
        for output in buyer.call("listfunds")["outputs"]
        if output["status"] == "confirmed" and not output["reserved"]
    ]
    outpoint = next(f"{each['txid']}:{each['output']}" for each in free if int(each["amount_msat"]) == 100_000_000)
    some: Plain = {"feerate": "1000perkw", "startweight": 400}
    step("fundpsbt too much", buyer, "fundpsbt", satoshi=10**12, **some)
    funded = step("fundpsbt", buyer, "fundpsbt", satoshi=1000, reserve=0, **some)
    step("fundpsbt at nonsense", buyer, "fundpsbt", satoshi=1000, feerate="fast!", startweight=400)
    step("signpsbt of what is not reserved", buyer, "signpsbt", psbt=funded["psbt"])
    step("signpsbt of nonsense", buyer, "signpsbt", psbt="nonsense")
    step("signpsbt of another's", seller, "signpsbt", psbt=funded["psbt"])
    step("utxopsbt unknown", buyer, "utxopsbt", satoshi=0, utxos=["00" * 32 + ":0"], **some)
    used = step("utxopsbt", buyer, "utxopsbt", satoshi=0, utxos=[outpoint], excess_as_change=True, **some)
    step("utxopsbt reserved", buyer, "utxopsbt", satoshi=0, utxos=[outpoint], **some)
    step("reserveinputs", buyer, "reserveinputs", psbt=used["psbt"], exclusive=False, reserve=10)
    signed = step("signpsbt", buyer, "signpsbt", psbt=used["psbt"])
    step("sendpsbt of what is not signed", buyer, "sendpsbt", psbt=used["psbt"])
    txid, _, vout = outpoint.partition(":")
    step("getutxout", seller, "getutxout", txid=txid, vout=int(vout))
    step("sendpsbt", buyer, "sendpsbt", psbt=signed["signed_psbt"])
    step("sendpsbt again", buyer, "sendpsbt", psbt=signed["signed_psbt"])
    step("getutxout spent", seller, "getutxout", txid=txid, vout=int(vout))
    step("unreserveinputs", buyer, "unreserveinputs", psbt=used["psbt"], reserve=1000)
    step("feerates", seller, "feerates", style="perkw")
    step("getrawblockbyheight", seller, "getrawblockbyheight", height=seller.call("getinfo")["blockheight"])
    step("getrawblockbyheight beyond", seller, "getrawblockbyheight", height=10**6)
    step("sendrawtransaction of nonsense", seller, "sendrawtransaction", tx="00", allowhighfees=False)


def _datastore(step: Step, seller: LightningRpc, tag: str) -> None:
    key = [tag, "one"]
    step("listdatastore of nothing", seller, "listdatastore", key=key)
    step("datastore", seller, "datastore", key=key, string="first", mode="create-or-replace")
    step("datastore once more", seller, "datastore", key=key, string="second", mode="create-or-replace")
    step("listdatastore", seller, "listdatastore", key=key)
    step("listdatastore of a parent", seller, "listdatastore", key=[tag])
    step("datastore of what exists", seller, "datastore", key=key, string="third")
    step("datastore of what does not exist", seller, "datastore", key=[tag, "two"], string="x", mode="must-replace")
    step("datastore of a parent", seller, "datastore", key=[tag], string="x")
    step("datastore of a child", seller, "datastore", key=[*key, "more"], string="x")


def _peers(step: Step, seller: LightningRpc, buyer: LightningRpc, seller_id: str) -> None:
    step("newaddr", seller, "newaddr", addresstype="bech32")
    signed = step("signmessage", seller, "signmessage", message="hello")
    step("signmessage too long", seller, "signmessage", message="x" * 65536)
    step("checkmessage", buyer, "checkmessage", message="hello", zbase=signed["zbase"], pubkey=seller_id)
    step("checkmessage other", buyer, "checkmessage", message="hallo", zbase=signed["zbase"], pubkey=seller_id)
    step("checkmessage of nonsense", buyer, "checkmessage", message="hello", zbase="lll", pubkey=seller_id)
    step("listpeers", buyer, "listpeers", id=seller_id)
    step("listpeerchannels", buyer, "listpeerchannels", id=seller_id)
    stranger = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    step("listpeers of a stranger", buyer, "listpeers", id=stranger)
    step("connect where connected", buyer, "connect", id=seller_id)
    step("connect to a stranger", buyer, "connect", id=stranger)
    step("connect to a closed port", buyer, "connect", id=stranger, host="127.0.0.1", port=1)
    step("sendcustommsg", buyer, "sendcustommsg", node_id=seller_id, msg="b02f0102")
    step("sendcustommsg to a stranger", buyer, "sendcustommsg", node_id=stranger, msg="b02f0102")

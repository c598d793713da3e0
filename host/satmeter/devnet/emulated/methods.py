"""The RPC methods of an emulated node: rpc_NAME answers NAME, with lightningd's parameters, fields and errors."""

import hashlib
import hmac
import inspect
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from coincurve import PublicKey

from ...core.plain import Plain
from ...wire import signature
from . import ALIAS, VERSION, invoices, messages, offers
from . import errors as err
from .errors import RpcFault
from .htlcs import MARGIN
from .pay_rpc import PayingNode, msat_of
from .pays import Pays
from .requests import Params, Request


class RpcNode(PayingNode):
    """A node that answers on its socket."""

    def handle(self, request: Request) -> object:
        """Answers a request by a method of the node itself, else by that of a plugin.

        Raises RpcFault -32601 for an unknown method, -32602 for missing, unknown or too many
        parameters."""
        handler = getattr(self, "rpc_" + request.method.replace("-", "_"), None)
        if handler is not None:
            return handler(**_bind(handler, request.params()))
        for plugin in list(self.plugins):
            if request.method in plugin.methods:
                return plugin.forward(request)
        raise RpcFault(err.UNKNOWN_METHOD, f"Unknown command '{request.method}'")

    # about the node

    def rpc_getinfo(self) -> Plain:
        """Answers CLN's `getinfo`; its alias shows that the node is emulated."""
        return {
            "id": self.id,
            "alias": f"{ALIAS}-{self.name}",
            "color": self.id[:6],
            "num_peers": len(self.peers),
            "num_pending_channels": 0,
            "num_active_channels": len(self.network.channels.of(self.id)),
            "num_inactive_channels": 0,
            "address": [],
            "binding": [{"type": "ipv4", "address": self.host, "port": self.port}],
            "version": VERSION,
            "blockheight": self.network.chain.height,
            "network": "regtest",
            "fees_collected_msat": 0,
            "lightning-dir": str(self.lightning_dir),
        }

    def rpc_listconfigs(self, config: str) -> Plain:
        """Answers CLN's `listconfigs` for cltv-final only, which is in blocks.

        Raises RpcFault -32602 for any other config."""
        if config != "cltv-final":
            raise RpcFault(err.INVALID_PARAMS, "config: the emulated node tells cltv-final only")
        return {"configs": {config: {"value_int": invoices.FINAL_CLTV, "source": "default"}}}

    def rpc_datastore(self, key: object, string: str, mode: str = "must-create") -> Plain:
        """Answers CLN's `datastore`; modes and errors as in Datastore.put."""
        return self.datastore.put(key, string, mode)

    def rpc_listdatastore(self, key: object = None) -> Plain:
        """Answers CLN's `listdatastore`; None lists the keys by their first string."""
        return {"datastore": self.datastore.found(key)}

    def rpc_createrune(self, rune: str | None = None, restrictions: object = None) -> Plain:
        """Answers CLN's `createrune`; RpcFault -32602 for a rune that is to be restricted further."""
        if rune is not None:
            raise RpcFault(err.INVALID_PARAMS, "rune: the emulated node restricts none further")
        return self.runes.create(restrictions)

    def rpc_commando(
        self, peer_id: str, method: str, params: Params | None = None, rune: str | None = None, filter: object = None
    ) -> object:
        """Answers CLN's `commando` with what another node answers.

        Raises RpcFault -32600 for a peer that is not connected, 19536 and 19537 for what its rune does not permit."""
        if peer_id not in self.peers:
            raise RpcFault(err.INVALID_REQUEST, "Peer is not connected")
        other = self.network.nodes[peer_id]
        other.runes.check(rune, method, self.id)
        return other.handle(Request.read(json.dumps({"id": 1, "method": method, "params": params or {}}).encode()))

    def rpc_notifications(self, enable: bool) -> Plain:
        """Answers CLN's `notifications`, which lightning-cli calls first; it has no effect."""
        return {}

    def rpc_help(self, command: str | None = None) -> Plain:
        """Answers CLN's `help` with the usage of each method, those of plugins included.

        Raises RpcFault -32601 if `command` is no method."""
        own = [each.removeprefix("rpc_").replace("_", "-") for each in dir(self) if each.startswith("rpc_")]
        rows = [f"{name} {_usage(getattr(self, 'rpc_' + name.replace('-', '_')))}".strip() for name in own]
        for plugin in self.plugins:
            rows += [f"{name} {value.get('usage', '')}".strip() for name, value in plugin.methods.items()]
        if command is not None:
            rows = [row for row in rows if row.split()[0] == command]
            if not rows:
                raise RpcFault(err.UNKNOWN_METHOD, f"Unknown command '{command}'")
        return {"help": [{"command": row} for row in rows], "format-hint": "simple"}

    def rpc_stop(self) -> str:
        """Answers CLN's `stop`; the node stops 50 ms after the answer."""
        threading.Timer(0.05, self.stop).start()
        return "Shutdown complete"

    def rpc_plugin(self, subcommand: str, plugin: str | None = None, **options: object) -> Plain:
        """Answers CLN's `plugin` with start, stop or list.

        Args:
            subcommand: start, stop or list.
            plugin: The executable's path; to stop it, its file name is enough.
            options: Options of the plugin to start, beside those of the node.

        Raises:
            RpcFault: -32602 for a plugin that is not there, not executable or runs already, or another
                subcommand; -3 if the plugin disables itself; -4 if it does not start, or the node is
                shutting down.
        """
        if subcommand == "stop":
            for running in self.plugins:
                if plugin in (running.name, str(running.path)):
                    running.stop()
                    # Whoever reads its output may notice a moment later; it can be started again at once.
                    self.plugins = [each for each in self.plugins if each is not running]
                    return {"command": "stop", "result": f"Successfully stopped {running.name}."}
            raise RpcFault(err.INVALID_PARAMS, f"Could not find plugin {plugin}")
        if subcommand == "start":
            path = Path(str(plugin))
            with self._starting:
                if self._socket is None:
                    raise RpcFault(err.PLUGIN_TERMINATED, "the node is shutting down")
                if any(running.path == path for running in self.plugins):
                    raise RpcFault(err.INVALID_PARAMS, f"{path}: already registered")
                self._start_plugin(path, options=options)
        elif subcommand != "list":
            raise RpcFault(err.INVALID_PARAMS, f"subcommand is not start, stop or list: {subcommand}")
        rows = [{"name": str(each.path), "active": each.active, "dynamic": True} for each in self.plugins]
        return {"command": subcommand, "plugins": rows}

    # invoices

    def rpc_invoice(
        self,
        amount_msat: object,
        label: str,
        description: str,
        expiry: int = invoices.DEFAULT_EXPIRY_S,
        deschashonly: bool = False,
        preimage: str | None = None,
    ) -> Plain:
        """Answers CLN's `invoice`: `amount_msat` is in msat, or the text any; `expiry` in seconds.

        `preimage` is hex. Raises RpcFault 900 if the label is taken, -32602 for a bad amount or a label
        over 128 bytes."""
        if len(str(label).encode()) > invoices.LABEL_MOST:
            raise RpcFault(err.INVALID_PARAMS, f"Label '{label}' over {invoices.LABEL_MOST} bytes")
        amount = None if amount_msat == "any" else msat_of("amount_msat", amount_msat)
        given = bytes.fromhex(preimage) if preimage is not None else None
        made = self.invoices.make(str(label), amount, description, int(expiry), deschashonly, given)
        return {
            "payment_hash": made.hash,
            "expires_at": made.expires_at,
            "bolt11": made.bolt11,
            "payment_secret": made.secret,
            "created_index": made.created_index,
        }

    def rpc_listinvoices(
        self,
        label: str | None = None,
        payment_hash: str | None = None,
        index: str | None = None,
        start: int = 0,
        limit: int | None = None,
    ) -> Plain:
        """Answers CLN's `listinvoices`; `start` and `limit` have an effect only if `index` is created.

        `start` is the lowest created_index, `limit` the most rows. Raises RpcFault -32602 for any other
        index."""
        found = self.invoices.find(label, payment_hash)
        if index is not None:
            if index != "created":
                raise RpcFault(err.INVALID_PARAMS, "the emulated node lists invoices by their created index only")
            found = [i for i in found if i.created_index >= int(start)][: None if limit is None else int(limit)]
        return {"invoices": [i.row() for i in found]}

    def rpc_delinvoice(self, label: str, status: str) -> Plain:
        """Answers CLN's `delinvoice` with the deleted row; errors as in Invoices.delete."""
        return self.invoices.delete(label, status).row()

    def rpc_waitanyinvoice(self, lastpay_index: int = 0, timeout: float | None = None) -> Plain:
        """Answers CLN's `waitanyinvoice`; `timeout` is in seconds, None waits without end.

        Raises RpcFault 904 after the timeout."""
        return self.invoices.wait_any(int(lastpay_index), timeout).row()

    def rpc_wait(self, subsystem: str, indexname: str, nextvalue: int) -> Plain:
        """Answers CLN's `wait` at once, with the present created index of invoices.

        Raises RpcFault -32602 unless the parameters are invoices, created and 0."""
        if (subsystem, indexname, nextvalue) != ("invoices", "created", 0):
            raise RpcFault(err.INVALID_PARAMS, "the emulated node only tells the present created index of invoices")
        return {"subsystem": "invoices", "created": self.invoices.created}

    def rpc_decode(self, string: str) -> Mapping[str, object]:
        """Answers CLN's `decode`, for BOLT 11 and 12; RpcFault -32602 for other text."""
        if string.lower().startswith((f"{offers.OFFER}1", f"{offers.INVOICE}1")):
            return offers.decode(string)
        return invoices.decode(string)

    # offers

    def rpc_offer(self, amount: object, description: str | None = None, label: str | None = None) -> Plain:
        """Answers CLN's `offer`: `amount` is in msat, or the text any. RpcFault -32602 for a bad amount."""
        asked = None if amount == "any" else msat_of("amount", amount)
        return {**self.offers.make(asked, description or "", label).row(), "force_paths": False, "created": True}

    def rpc_listoffers(self, offer_id: str | None = None) -> Plain:
        """Answers CLN's `listoffers`."""
        found = self.offers.find(offer_id)
        return {"offers": [{**each.row(), "force_paths": False, "description": each.description} for each in found]}

    def rpc_disableoffer(self, offer_id: str) -> Plain:
        """Answers CLN's `disableoffer`; errors as in Offers.switch."""
        found = self.offers.switch(offer_id, False)
        return {**found.row(), "force_paths": False, "description": found.description}

    def rpc_enableoffer(self, offer_id: str) -> Plain:
        """Answers CLN's `enableoffer`; errors as in Offers.switch."""
        found = self.offers.switch(offer_id, True)
        return {**found.row(), "force_paths": False, "description": found.description}

    # peers

    def rpc_connect(self, id: str, host: str | None = None, port: int | None = None) -> Plain:
        """Answers CLN's `connect`: connects to a node of this network, by id or by id@host:port.

        Of an address only the port is compared. Raises RpcFault 400 if no address is given and there is
        no channel with the node, 401 if no node listens there."""
        peer_id, _, at = id.partition("@")
        if at:
            host, _, port_text = at.rpartition(":")
            port = int(port_text)
        known = self.network.nodes.get(peer_id)
        if peer_id not in self.peers:
            if host is None and not self.network.have_channel(self.id, peer_id):
                raise RpcFault(err.CONNECT_NO_KNOWN_ADDRESS, "Unable to connect, no address known for peer")
            if known is None or not known.up.is_set() or (port is not None and int(port) != known.port):
                raise RpcFault(err.CONNECT_ALL_FAILED, f"All addresses failed: {host}:{port}: Connection refused.")
            self.network.connect(self, known)
        assert known is not None
        return {
            "id": peer_id,
            "features": "",
            "direction": "out",
            "address": {"type": "ipv4", "address": known.host, "port": known.port},
        }

    def rpc_disconnect(self, id: str, force: bool = False) -> Plain:
        """Answers CLN's `disconnect`; `force` has no effect.

        Raises RpcFault -32600 if the peer is not connected."""
        if id not in self.peers:
            raise RpcFault(err.INVALID_REQUEST, "Peer not connected")
        self.network.disconnect(self.id, id)
        return {}

    def rpc_listpeers(self, id: str | None = None) -> Plain:
        """Answers CLN's `listpeers`: connected nodes, and nodes with a channel.

        The count `num_channels` is 0 or 1, even with several channels."""
        with_channel = {each.other(self.id) for each in self.network.channels.of(self.id)}
        rows = []
        for peer in sorted(self.peers | with_channel):
            if id in (None, peer):
                count = sum(one.other(self.id) == peer for one in self.network.channels.of(self.id))
                rows.append({"id": peer, "connected": peer in self.peers, "num_channels": count})
        return {"peers": rows}

    def rpc_listpeerchannels(self, id: str | None = None) -> Plain:
        """Answers CLN's `listpeerchannels`; every channel is in state CHANNELD_NORMAL."""
        rows = []
        for channel in self.network.channels.of(self.id):
            other = channel.other(self.id)
            if id in (None, other):
                rows.append(
                    {
                        "peer_id": other,
                        "peer_connected": other in self.peers,
                        "state": "CHANNELD_NORMAL",
                        "short_channel_id": channel.scid,
                        "to_us_msat": channel.balance[self.id],
                        "total_msat": channel.total,
                        "spendable_msat": channel.spendable(self.id),
                        "receivable_msat": channel.spendable(other),
                        "our_reserve_msat": channel.reserve,
                        "their_reserve_msat": channel.reserve,
                        "minimum_htlc_out_msat": channel.htlc_minimum,
                        "maximum_htlc_out_msat": channel.total - channel.reserve,
                        "htlcs": [
                            {
                                "direction": "out" if each.hop.source == self.id else "in",
                                "amount_msat": each.hop.amount,
                                "payment_hash": each.hash,
                                "expiry": self.network.chain.height + MARGIN,
                            }
                            for each in list(channel.on_way)
                        ],
                    }
                )
        return {"channels": rows}

    def rpc_sendcustommsg(self, node_id: str, msg: str) -> Plain:
        """Answers CLN's `sendcustommsg`: sends a message, given in hex, to a connected peer.

        A message of less than 2 or more than 65,535 bytes kills the node, because it aborts CLN's
        connectd. Raises RpcFault -32600 then, and if the peer is not connected."""
        if node_id not in self.peers:
            raise RpcFault(err.INVALID_REQUEST, f"No such peer: {node_id}")
        try:
            data = bytes.fromhex(msg)
        except ValueError:
            data = b""  # lightningd takes what is no hex for an empty message
        if not 2 <= len(data) < 65536:
            self.log("BROKEN connectd: aborted by a custom message of a size that it can't send")
            threading.Thread(target=self.kill, daemon=True).start()
            raise RpcFault(err.INVALID_REQUEST, "connectd died")
        self.network.post(self.id, node_id, data)
        return {"status": "Message sent to connectd for delivery"}

    # cleaning

    def rpc_autoclean_once(self, subsystem: str, age: int) -> Plain:
        """Answers CLN's `autoclean-once`: deletes what is `age` seconds old or older.

        The count `uncleaned` is always 0. Raises RpcFault -32602 unless the subsystem is paidinvoices
        or succeededpays."""
        stores: dict[str, invoices.Invoices | Pays] = {"paidinvoices": self.invoices, "succeededpays": self.pays}
        if subsystem not in stores:
            raise RpcFault(err.INVALID_PARAMS, f"subsystem: the emulated node cleans {', '.join(stores)} only")
        cleaned = stores[subsystem].clean(int(time.time()) - int(age))
        return {"autoclean": {subsystem: {"cleaned": cleaned, "uncleaned": 0}}}

    # signatures and secrets

    def rpc_makesecret(self, hex: str | None = None, string: str | None = None) -> Plain:
        """Return a secret that is this node's own for a text, and the same each time."""
        if (hex is None) == (string is None):
            raise RpcFault(err.INVALID_PARAMS, "Must have either hex or string")
        about = bytes.fromhex(hex) if hex is not None else str(string).encode()
        return {"secret": hmac.new(bytes.fromhex(self.key), about, hashlib.sha256).hexdigest()}

    def rpc_signmessage(self, message: str) -> Plain:
        """Answers CLN's `signmessage`.

        Raises RpcFault -32602 for a message of 65,536 characters or more."""
        if len(message) >= 65536:
            raise RpcFault(err.INVALID_PARAMS, "Message must be < 64k")
        raw = signature.sign(bytes.fromhex(self.key), message)
        recid = raw[0] - signature.HEADER
        return {"signature": raw[1:].hex(), "recid": f"{recid:02x}", "zbase": signature.pack(raw)}

    def rpc_checkmessage(self, message: str, zbase: str, pubkey: str | None = None) -> Plain:
        """Answers CLN's `checkmessage`; without `pubkey`, the signer has to be a node of this network.

        A recovery id other than 0 to 3 kills the node, because it aborts lightningd. Raises RpcFault
        1301 for an unknown signer, -32602 for a bad signature or pubkey."""
        if pubkey is not None and not _is_pubkey(pubkey):
            raise RpcFault(err.INVALID_PARAMS, f"pubkey: should be a compressed pubkey: invalid token '{pubkey}'")
        try:
            found = messages.check(str(message), str(zbase), pubkey)
        except messages.Aborts as error:
            self.log(f"BROKEN lightningd: FATAL SIGNAL 6: {error}")
            self.kill()
            raise RpcFault(err.LIGHTNINGD, "lightningd died") from None
        if pubkey is None and found.get("pubkey", self.id) not in self.network.nodes:
            raise RpcFault(err.SIGNMESSAGE_PUBKEY_NOT_FOUND, "pubkey not found in the graph")
        return found


def _usage(handler: Callable[..., object]) -> str:
    known = inspect.signature(handler).parameters.values()
    return " ".join(each.name if each.default is inspect.Parameter.empty else f"[{each.name}]" for each in known)


def _is_pubkey(text: object) -> bool:
    try:
        PublicKey(bytes.fromhex(str(text)))
    except ValueError:
        return False
    return len(str(text)) == 66


def _bind(handler: Callable[..., object], params: Params) -> Plain:
    known = dict(inspect.signature(handler).parameters)
    anything = known.pop("options", None)  # a plugin's own options beside those of `plugin start`
    given = dict(params) if isinstance(params, dict) else dict(zip(known, params))
    if isinstance(params, list) and len(params) > len(known):
        raise RpcFault(err.INVALID_PARAMS, "too many parameters")
    for name in given:
        if name not in known and not anything and name not in ("exposeprivatechannels", "fallbacks", "cltv"):
            raise RpcFault(err.INVALID_PARAMS, f"unknown parameter: {name}")
    for name, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and given.get(name) is None:
            raise RpcFault(err.INVALID_PARAMS, f"missing required parameter: {name}")
    return {key: value for key, value in given.items() if key in known or anything}

"""One emulated node: its life, its plugins, its peers, and how it is paid. Its RPC methods are in methods.py."""

import hashlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from coincurve import PrivateKey

from ...core.plain import Plain
from .. import DevNode, NodeSpec
from . import errors as err
from . import offers
from .channels import Faults
from .datastore import Datastore
from .errors import RpcFault
from .htlcs import Htlcs
from .invoices import Invoice, Invoices
from .offers import Offers
from .pays import Pays
from .plugins import Plugin
from .requests import Request
from .runes import Runes
from .socket import RpcSocket
from .wallet import Wallet

if TYPE_CHECKING:
    from .net import Network


class Node(DevNode):
    """State outlives stop() and kill(), as a node's database does; plugins, sockets and strange peers do not."""

    def __init__(self, network: "Network", spec: NodeSpec, directory: Path, port: int):
        self.network = network
        self.name, self.spec = spec.name, spec
        self.key = hashlib.sha256(f"satmeter devnet {spec.name} {directory}".encode()).hexdigest()
        self.id = PrivateKey(bytes.fromhex(self.key)).public_key.format().hex()
        self.host, self.port = "127.0.0.1", port
        self.lightning_dir = directory
        self.invoices = Invoices(self.key)
        self.offers = Offers(self.id)
        self.pays = Pays()
        self.datastore = Datastore()
        self.runes = Runes()
        self.htlcs = Htlcs(self)
        self.wallet = Wallet(network.chain, self.key)
        self.faults = Faults()
        self.plugins: list[Plugin] = []
        self.peers: set[str] = set()
        self.up = threading.Event()
        self.epoch = 0
        self._socket: RpcSocket | None = None
        self._inbox_lock = threading.Lock()
        self._starting = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        self._log_file = directory / "log"

    def log(self, line: str) -> None:
        """Appends a line to the node's log file, after the time (UTC)."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with open(self._log_file, "a", encoding="utf-8") as out:
            out.write(f"{stamp} {line}\n")

    # --- life

    def start(self) -> None:
        """Opens the socket, starts the plugins, and connects to nodes with a channel that are up.

        Raises RpcFault if a plugin does not start."""
        self.epoch += 1
        with self._starting:
            self._socket = RpcSocket(self.lightning_dir / "lightning-rpc", self.handle)
            for path in self._plugin_paths():
                self._start_plugin(path, startup=True)
        self.up.set()
        for channel in self.network.channels.of(self.id):
            other = self.network.nodes[channel.other(self.id)]
            if other.up.is_set():
                self.network.connect(self, other)

    def _plugin_paths(self) -> list[Path]:
        important = self.spec.options.get("important-plugin")
        return [*self.spec.plugins, *([Path(str(important))] if important else [])]

    def stop(self) -> None:
        """Stops the plugins, with up to 5 s each after the shutdown notification; closes the socket."""
        self._end(told=True)

    def kill(self) -> None:
        """Kills the plugins at once and closes the socket; invoices, payments and wallet are kept."""
        self._end(told=False)

    def _end(self, told: bool) -> None:
        with self._starting:  # nor does a client start a plugin on a node that ends: it would outlive it
            if self._socket is None:
                return
            self.up.clear()
            self.epoch += 1
            plugins, self.plugins = self.plugins, []
            for plugin in plugins:
                plugin.on_exit = lambda gone: None
                plugin.stop(told)
            self._socket.close()
            self._socket = None
        self.htlcs.down()
        for peer in list(self.peers):
            self.network.disconnect(self.id, peer)

    def _start_plugin(self, path: Path, startup: bool = False, options: Mapping[str, object] | None = None) -> Plugin:
        if not path.is_file() or not path.stat().st_mode & 0o111:
            raise RpcFault(err.INVALID_PARAMS, f"{path} is not executable: No such file or directory")
        plugin = Plugin(path, self.lightning_dir, self.log, self.notify)
        plugin.on_exit = self._plugin_gone
        configuration = {
            "lightning-dir": str(self.lightning_dir),
            "rpc-file": "lightning-rpc",
            "startup": startup,
            "network": "regtest",
            "feature_set": {},
        }
        try:
            plugin.start({**self.spec.options, **(options or {})}, configuration)
        except RpcFault:
            plugin.stop(told=False)
            raise
        self.plugins.append(plugin)
        return plugin

    def _plugin_gone(self, plugin: Plugin) -> None:
        self.plugins = [each for each in self.plugins if each is not plugin]
        self.log(f"INFO plugin-{plugin.name}: Killing plugin: exited")
        if str(plugin.path) == str(self.spec.options.get("important-plugin", "")):
            self.log(f"BROKEN plugin-{plugin.name}: important plugin died, shutting down node")
            threading.Thread(target=self.kill, daemon=True).start()

    def plugin_pid(self, path: Path) -> int:
        """Returns the process id of a plugin, found by its file name.

        Raises ProcessLookupError if it does not run."""
        for plugin in self.plugins:
            if plugin.name == path.name and plugin.alive:
                return plugin.process.pid
        raise ProcessLookupError(f"{path.name} does not run on {self.name}")

    def notify(self, topic: str, payload: object) -> None:
        """Tell every plugin that subscribed to the topic; the payload stands under the topic's name."""
        params = payload if isinstance(payload, dict) and topic in payload else {topic: payload}
        for plugin in list(self.plugins):
            if plugin.active and plugin.hears(topic):
                plugin.tell(topic, params)

    # --- hooks

    def hooks(self, name: str, payload: Plain, results: tuple[str, ...]) -> dict[str, str]:
        """Asks each plugin that has a hook, and returns the first answer that is not "continue".

        A plugin that dies meanwhile is skipped. An error, or an answer whose result is not in `results`,
        kills this node; then the last of `results` is returned."""
        for plugin in list(self.plugins):
            if not plugin.has_hook(name):
                continue
            try:
                result = plugin.call(name, payload)
            except RpcFault as error:
                if error.code == err.PLUGIN_TERMINATED:
                    continue  # the plugin died: a real node goes on, too
                result = {"error": error.message}  # to a real node this is fatal
            if not isinstance(result, dict) or result.get("result") not in results:
                self.log(f"BROKEN plugin-{plugin.name}: bad answer to hook {name}: {result!r}")
                self.kill()
                return {"result": results[-1]}
            if result["result"] != "continue":
                return result
        return {"result": "continue"}

    # --- offers

    def give_invoice(self, offer_id: str, amount: int, note: str) -> Invoice:
        """Makes the invoice that somebody asks for by an offer of this node; RpcFault 1004 where there is none."""
        offer = self.offers.asked(offer_id, amount)
        payer = PrivateKey().public_key.format().hex()
        offer.used = True

        def written(payment_hash: str, secret: str) -> str:
            return offers.invoice_text(offer, self.id, payer, note, amount, payment_hash, secret)

        label = f"{offer_id}-{payer}-0"
        return self.invoices.fetched(label, offer_id, offer.description, note, amount, offers.EXPIRY_S, written)

    # --- peers

    def deliver(self, peer: str, data: bytes) -> None:
        """A custom message arrives: an even type that nobody knows ends the connection."""
        if int.from_bytes(data[:2], "big") % 2 == 0:
            self.network.disconnect(self.id, peer)
            return
        with self._inbox_lock:
            self.notify("custommsg", {"peer_id": peer, "payload": data.hex()})

    # --- RPC

    def handle(self, request: Request) -> object:
        """Answer a request on the socket."""
        raise NotImplementedError

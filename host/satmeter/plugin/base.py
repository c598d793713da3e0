"""What both plugins share: options, the start, peer messages, and the log.

getmanifest must touch neither RPC nor files; init has 60 s. Anything raw on file descriptor 1 would kill the plugin,
so descriptor 1 is lightningd's alone and whatever else prints goes to descriptor 2.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TextIO, TypeVar

from pyln.client import Plugin

from ..core import commands as cmd
from ..core.effects import Effect
from ..core.errors import BadMessage, BadParam, JournalTrouble, SatmeterError
from ..core.journal import Event
from ..core.messages import Message
from ..core.money import whole
from ..core.plain import JsonObject, Plain
from ..core.ratelimit import RateLimit
from ..core.snapshot import DAY_MS
from ..journal.compaction import FoldT, compact, folded
from ..journal.store import Journal
from ..journal.url import check_url, sqlite_url
from ..node.payments import Payments
from ..node.rpc import Node
from ..wire import peer
from . import rpc_methods
from .executor import Executor
from .last_known import LastKnown
from .long_poll import LongPolls
from .params import journal_name
from .reader import read
from .rpc_methods import Call
from .runtime import CoreT, Runtime
from .timings import Timings

log = logging.getLogger("satmeter")

Performers = dict[type[Effect], Callable[[Any], None]]
"""What carries out an effect, by its kind. Any: each takes the effect of its own kind."""
EffectT = TypeVar("EffectT", bound=Effect)

SWITCH_S = 0.0005
"""How long a busy thread may keep another waiting: a payment passes through five of them, and Python's 5 ms add up."""


def keep_stdout() -> TextIO:
    """Keep lightningd's pipe for ourselves and give stdout's descriptor to the log of last resort."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


COMPACT_S = 3600


class RolePlugin(Generic[CoreT, FoldT]):
    """Base of the two adapters. `role` names journal, options and RPC prefix: "meter" or "stream".

    The constructor declares; only `init` says where the node is, and lightningd calls nothing of ours before it."""

    role = ""

    # What `init` makes.
    node: Node
    info: JsonObject
    """getinfo, as of the start."""
    node_id: str
    db_url: str
    executor: Executor
    payments: Payments
    last_known: LastKnown
    long_polls: LongPolls
    runtime: Runtime[CoreT]
    _performers: Performers

    def __init__(self) -> None:
        self.paying = Timings()
        self.quota = RateLimit()
        self._runs = False
        self._goes_on_from_older = False
        self.plugin = plugin = Plugin(autopatch=False)
        plugin.stdout = keep_stdout()
        plugin.init()(self._init)
        plugin.add_option(f"{self.role}-db", "", f"journal's database URL; default: satmeter-{self.role}.sqlite3 here")
        plugin.add_option(f"{self.role}-older-journal", "", "the name of a journal of which only an older copy is left")
        plugin.add_option(f"{self.role}-keep-days", "90", "days for which the journal's events are kept; 0: for ever")
        plugin.add_option(f"{self.role}-keep-receipts-days", "3650", "days for which receipts are kept; 0: for ever")
        self.declare(plugin)
        for name, handler in self.methods().items():
            rpc_methods.add(plugin, f"{self.role}-{name}", handler)
        rpc_methods.add(plugin, f"{self.role}-figures", self.figures)
        plugin.add_subscription("custommsg", self._custommsg)
        plugin.add_subscription("connect", self._connect)
        plugin.add_subscription("disconnect", self._disconnect)
        plugin.add_subscription("shutdown", self._shutdown)

    def declare(self, plugin: Plugin) -> None:
        """Adds the role's options, topics, hooks and subscriptions; uses no RPC and no file."""
        raise NotImplementedError

    def methods(self) -> dict[str, Callable[..., None]]:
        """Returns the role's RPC methods by name, without the prefix of the role."""
        raise NotImplementedError

    def figures(self, call: Call) -> None:
        """How long commits of the journal, and payments or refunds, have taken since the plugin's start."""
        call.reply({"commits": self.runtime.commits.told(), "payments": self.paying.told()})

    state: Callable[[], FoldT]
    """Makes the empty state of this role; see compaction.Fold."""

    def performers(self) -> Performers:
        """Return what carries out each kind of effect."""
        raise NotImplementedError

    def perform(self, effect: Effect) -> None:
        """Has an effect of the core's carried out; what takes time runs on the executor's threads."""
        self._performers[type(effect)](effect)

    def folded(self, snapshot: Plain | None, events: list[Event]) -> FoldT:
        """Return the state that a snapshot and the events after it come to."""
        return folded(self.state(), snapshot, events)

    def check_options(self) -> None:
        """Take the role's own options, or raise BadParam that names the one that is wrong. Asks nobody."""

    def prepare(self) -> None:
        """Before the service starts: make what it will use."""

    def block_at(self) -> int:
        """Return the time of the node's newest block in ms, 0 where it does not say."""
        try:
            raw = self.node.call("getrawblockbyheight", height=self.node.info()["blockheight"])["block"]
            return int.from_bytes(bytes.fromhex(str(raw)[136:144]), "little") * 1000
        except Exception as error:
            log.warning("the node's newest block can't be looked at: %s", error)
            return 0

    def started(self) -> None:
        """The journal is open or in trouble; begin to listen."""

    def _init(self, plugin: Plugin, **kwargs: object) -> dict[str, str]:
        try:
            names = [f"{self.role}-keep-{what}" for what in ("days", "receipts-days")]
            kept = [whole(name, plugin.get_option(name), 0, 36_500) for name in names]
            given = str(plugin.get_option(f"{self.role}-db") or "")
            check_url(f"{self.role}-db", given)
            if older := str(plugin.get_option(f"{self.role}-older-journal") or ""):
                journal_name(f"{self.role}-older-journal", older)
            self.check_options()
        except BadParam as error:
            return {"disable": error.message}
        self.node = Node(os.path.join(plugin.lightning_dir, plugin.rpc_filename))
        self.info = self.node.info()
        self.node_id = self.info["id"]
        self.db_url = given or sqlite_url(Path(plugin.lightning_dir) / f"satmeter-{self.role}.sqlite3")
        self.executor = Executor(self.node)
        self.payments = Payments(self.node, node_was_there=not plugin.startup)
        self.last_known = LastKnown(self.node, self.role)
        self.long_polls = LongPolls()
        self.runtime = Runtime(self, f"satmeter-{self.role}")  # type: ignore[arg-type]
        self.prepare()
        self._performers = self.performers()
        self.runtime.start()
        self._runs = True
        self.started()
        threading.Thread(target=self._compact, args=(kept,), name="satmeter-compact", daemon=True).start()
        return {}

    def _compact(self, kept: list[int]) -> None:
        """Every hour, delete what is older than it has to be kept: events and receipts, in days."""
        while True:
            time.sleep(COMPACT_S)
            before = [self.runtime.clock.surely() - days * DAY_MS if days else 0 for days in kept]
            try:
                if self.runtime.journal is not None and self.runtime.core is not None:
                    gone = compact(self.runtime.journal, self.state, *before)
                    if gone:
                        log.info("%d events older than %d days were deleted", gone, kept[0])
            except Exception as error:
                log.warning("no compaction this time: %s", error)

    def read(self, call: rpc_methods.Call, read: Callable[[Journal], object]) -> None:
        """Answer from the journal, off the core's thread: a long page must not hold up a payment."""

        def job() -> None:
            try:
                if self.runtime.journal is None or self.runtime.core is None:
                    raise JournalTrouble(self.runtime.trouble)
                call.reply(read(self.runtime.journal))
            except Exception as error:
                call.reply(error)

        self.executor.quick(job)

    def open_journal(self) -> Journal:
        """Opens the role's journal; JournalTrouble where it can't be used, or its file is gone.

        Once a journal was open, a missing file is an error, and no new one is made in its place."""
        return Journal(self.db_url, self.role, self.node_id, existing=self.runtime.journal is not None)

    def is_older(self, journal: Journal) -> bool:
        """Whether a journal is an older copy of what the node knows it was, and our operator goes on with it."""
        accepted = str(self.plugin.get_option(f"{self.role}-older-journal") or "")
        self._goes_on_from_older = self.last_known.is_older(journal, accepted)
        return self._goes_on_from_older

    def reached(self, journal: Journal) -> None:
        """Has the node keep, soon, how far the journal has come.

        After a start from an older copy it is kept at once: else the next start would treat it as older
        once more."""
        self.last_known.reached(journal)
        if self._goes_on_from_older:
            self._goes_on_from_older = False
            self.last_known.write_now()

    def failed(self, trouble: SatmeterError) -> None:
        """The journal can't be used: whoever waits is told."""
        self.long_polls.fail(trouble)

    def _custommsg(self, peer_id: str = "", payload: object = "", **kwargs: JsonObject) -> None:
        inner = kwargs.get("custommsg") or {}
        self._message(inner.get("peer_id", peer_id), str(inner.get("payload", payload)))

    def _message(self, peer_id: str, payload: str) -> None:
        if not payload.startswith(peer.HEX_TYPES):
            return  # not one of ours: lightningd's own plugins use custom messages, too
        if not self.quota.take(peer_id, self.runtime.clock.now()):
            return  # a peer that keeps to the protocol sends it again
        try:
            message = peer.decode(bytes.fromhex(payload))
        except (BadMessage, ValueError) as error:
            log.warning("a message of %s is malformed: %s", peer_id, error)
            return
        if message is None:
            return
        if self.mine(message):
            self.receive(peer_id, message)

    def _post(self, job: Callable[[EffectT], cmd.Command | None], effect: EffectT) -> None:
        """Do a job for an effect, and hand what came of it to the core."""
        came = job(effect)
        if came is not None:
            self.runtime.post(came)

    def receive(self, peer_id: str, message: Message) -> None:
        """Hands a peer's message to the core; called only for messages of this role."""
        self.runtime.post(cmd.FromPeer(peer=peer_id, message=message))

    def mine(self, message: Message) -> bool:
        """Whether a message is for this role: a node may run both plugins, and each sees every message."""
        raise NotImplementedError

    def _connect(self, id: str = "", **kwargs: JsonObject) -> None:
        inner = kwargs.get("connect") or {}
        self.runtime.post(cmd.PeerConnected(peer=inner.get("id", id)))

    def _disconnect(self, id: str = "", **kwargs: JsonObject) -> None:
        inner = kwargs.get("disconnect") or {}
        self.runtime.post(cmd.PeerLost(peer=inner.get("id", id)))

    def _shutdown(self, **kwargs: object) -> None:
        if self._runs:
            self.runtime.stop()
            self.last_known.write_now()
        os._exit(0)

    def run(self) -> None:
        """Runs the plugin until lightningd is gone, and then ends the process.

        Where lightningd did not start it, it prints what it is and returns."""
        sys.setswitchinterval(SWITCH_S)
        logging.getLogger("satmeter").setLevel(logging.INFO)
        logging.getLogger("satmeter.rpc").setLevel(logging.WARNING)  # it would log every preimage that it sees
        if os.environ.get("LIGHTNINGD_PLUGIN") != "1":
            self.plugin.run()  # it says what it is
            return
        # A terminal's Ctrl-C reaches us, too; it is lightningd that ends us, or its end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        read(self.plugin, sys.stdin.buffer)
        # stdin ended: lightningd is gone, and a new one may start us anew at any moment. Nothing is lost.
        os._exit(0)

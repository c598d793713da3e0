"""What is wrong with a node that sells or buys, each line with what to do about it.

It only asks: nothing is changed. What it can't find out is left out.
"""

import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pyln.client import RpcError

from .. import __version__
from ..core.errors import JournalTrouble, NodeTrouble
from ..core.plain import JsonObject
from ..core.reading import LESSER_FAULTS
from ..core.status import BuyerStatus, MeterStatus, SellerStatus, SessionStatus, StreamStatus, UnownedPayment, read_as
from ..node.rpc import UNKNOWN_COMMAND, Node, code_of, words_of

OLDEST, NEWEST = (25, 12, 1), (26, 6, 99)
"""Versions of lightningd between which all this is tried, and sound."""
LOW_DISK, NO_DISK = 2 * 10**9, 200 * 10**6
JOURNALS = ("satmeter-meter.sqlite3", "satmeter-stream.sqlite3")
VERBS = {"meter": "sell", "stream": "buy"}
KEY = Path("~/.config/satmeter/board.key")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `about` what, whether it is good, what is so, and what to do (where it is not good)."""

    about: str
    state: Literal["good", "mind", "bad"]
    words: str
    do: str = ""


def findings(node: Node) -> Iterator[Finding]:
    """Yields what is found, good or not; only the first where the node can't be reached."""
    try:
        info = node.info()
    except (NodeTrouble, RpcError) as error:
        words = words_of(error)
        yield Finding(
            "node", "bad", words, "start lightningd, or name its socket by --rpc; run as its user or in its group"
        )
        return
    yield from _node(info)
    yield from _machine(_folder(info, node))
    quantum, buys = 0, False
    for plugin, method in (("meter", "meter-status"), ("stream", "stream-list")):
        try:
            status = node.call(method)
        except RpcError as error:
            yield _refused(plugin, error, _was_here(plugin, _folder(info, node), node))
            continue
        except NodeTrouble as error:
            yield Finding(plugin, "bad", str(error), "lightningd's log says why the plugin does not answer")
            continue
        try:
            if plugin == "meter":
                seller = read_as(SellerStatus, status)
                yield from _version(plugin, seller.version)
                quantum = max((meter.tariff.quantum_msat for meter in seller.meters), default=0)
                found = list(_seller(seller))
            else:
                buyer, buys = read_as(BuyerStatus, status), True
                yield from _version(plugin, buyer.version)
                found = list(_streams(buyer.streams))
        except NodeTrouble as error:
            words = f"the plugin's answer does not fit this version ({error})"
            found = [Finding(plugin, "bad", words, "restart lightningd, or the plugin: it is older than this command")]
        yield from found
    yield from _channels(node, quantum, buys)


def _version(plugin: str, version: str) -> Iterator[Finding]:
    """A plugin that runs goes on with the code that it was started with."""
    if version != __version__:
        words = f"it is of version {version or 'unknown'}, and this command of {__version__}"
        yield Finding(plugin, "mind", words, "restart lightningd, or the plugin, after an upgrade")


def _seller(status: SellerStatus) -> Iterator[Finding]:
    yield from _meters(status.meters, status.sessions)
    yield from _unowned(status.unowned)
    yield from _reached(status.meters)


def _node(info: JsonObject) -> Iterator[Finding]:
    version = str(info.get("version", ""))
    parts = re.match(r"v?(\d{1,4}(?:\.\d{1,4}){1,3})", version, re.ASCII)
    numbers = tuple(int(word) for word in parts[1].split(".")) if parts else ()
    words = f"lightningd {version} on {info.get('network')}, block {info.get('blockheight')}"
    if not numbers:
        yield Finding("node", "mind", words, "its version is not known: is it your own build?")
    elif numbers < OLDEST:
        yield Finding("node", "bad", words, "upgrade lightningd: v25.12.1 is the oldest that is sound")
    elif numbers > NEWEST:
        yield Finding("node", "mind", words, "nobody has tried this on a version after v26.06")
    else:
        yield Finding("node", "good", words)
    for name in ("warning_bitcoind_sync", "warning_lightningd_sync"):
        if name in info:
            yield Finding("node", "bad", str(info[name]), "wait: it can't pay or be paid before it has caught up")


def _folder(info: JsonObject, node: Node) -> Path:
    """Where the node's files are."""
    return Path(str(info.get("lightning-dir", Path(node.path).expanduser().parent)))


def _was_here(plugin: str, folder: Path, node: Node) -> bool:
    """Whether this node had the plugin: its journal is beside it, or the node's datastore knows one."""
    if _is_there(folder / f"satmeter-{plugin}.sqlite3"):
        return True
    try:
        return bool(node.call("listdatastore", key=["satmeter", plugin])["datastore"])
    except (RpcError, NodeTrouble):
        return False


def _refused(plugin: str, error: RpcError, was_here: bool) -> Finding:
    if code_of(error) != UNKNOWN_COMMAND:
        journal = code_of(error) == JournalTrouble.code
        do = (
            "see docs/operating.md, The journal; for a journal of a newer version docs/installing.md, Upgrading"
            if journal
            else "lightningd's log says more"
        )
        return Finding(plugin, "bad", words_of(error), do)
    start = f"lightning-cli plugin start $(satmeter plugin-path {plugin})"
    if was_here:
        return Finding(plugin, "bad", "is not loaded any more; this node has a journal of it", start)
    return Finding(plugin, "mind", "is not loaded", f"{start}, if this node is to {VERBS[plugin]}")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _machine(folder: Path) -> Iterator[Finding]:
    free = _free(folder)
    if free is not None:
        words = f"{free / 1e9:.1f} GB are free for {folder}"
        state: Literal["good", "mind", "bad"] = "good" if free > LOW_DISK else "mind" if free > NO_DISK else "bad"
        yield Finding("disk", state, words, "" if state == "good" else "a journal that can't be written grants nothing")
    for path, bits in (*((folder / name, 0o007) for name in JOURNALS), (KEY.expanduser(), 0o077)):
        if _is_open(path, bits):
            yield Finding("permissions", "bad", f"{path} can be read by others", f"chmod 600 {path}")
    if (clock := _clock()) is not None:
        yield clock


def _free(folder: Path) -> int | None:
    """Returns how many bytes are free there, None where that can't be told: the folder may be somebody else's."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _is_open(path: Path, bits: int) -> bool:
    """Whether others (those of `bits`) can read a file; one that is not there, or not ours to see, is not open."""
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and bool(stat.S_IMODE(found.st_mode) & bits)


def _clock() -> Finding | None:
    found = shutil.which("timedatectl")
    if found is None:
        return None
    asked = subprocess.run([found, "show", "-p", "NTPSynchronized", "--value"], capture_output=True, text=True)
    if asked.returncode or asked.stdout.strip() not in ("yes", "no"):
        return None
    if asked.stdout.strip() == "yes":
        return Finding("clock", "good", "is set by the network")
    return Finding(
        "clock", "mind", "is not set by the network", "timedatectl set-ntp true: invoices expire by the clock"
    )


def _meters(meters: list[MeterStatus], sessions: list[SessionStatus]) -> Iterator[Finding]:
    if not meters:
        yield Finding(
            "meters", "mind", "there are none", "lightning-cli -k meter-add name=… price_msat=… (docs/reference.md)"
        )
    for meter in meters:
        about = f"meter {meter.name}"
        if meter.board != "heard":
            do = "start its bridge (satmeter bridge); its log says what is wrong with board or device"
            yield Finding(about, "bad", "its board or device is not heard", do)
        elif meter.fault in LESSER_FAULTS[1:]:
            yield Finding(
                about, "mind", meter.fault, "the meter still delivers; docs/reference.md, Faults, says what this means"
            )
        elif meter.fault:
            yield Finding(about, "bad", meter.fault, "docs/reference.md, Faults, says what this means")
        elif meter.exposure_msat > meter.exposure_bound_msat:
            words = f"{meter.exposure_msat:,} msat are at risk; the bound is {meter.exposure_bound_msat:,}"
            yield Finding(about, "bad", words, "lightning-cli meter-status shows the session; please report it")
        else:
            yield Finding(
                about, "good", f"{meter.state}, {meter.exposure_msat:,} of {meter.exposure_bound_msat:,} msat at risk"
            )
    for session in sessions:
        about = f"session {session.session[:8]}"
        if session.alarm:
            do = "when somebody has looked at it: lightning-cli meter-attend (docs/reference.md)"
            yield Finding(about, "bad", session.alarm, do)
        elif session.owed_msat and session.owed_why:
            yield Finding(about, "mind", f"{session.owed_msat:,} msat are owed: {session.owed_why}", "")


def _unowned(payments: list[UnownedPayment]) -> Iterator[Finding]:
    for each in payments:
        words = f"{each.amount_msat:,} msat were paid for {each.label!r}, and the payer is not known"
        yield Finding("unowned", "bad", words, "when somebody has looked at it: lightning-cli meter-attend LABEL")


def _reached(meters: list[MeterStatus]) -> Iterator[Finding]:
    if any(not meter.address for meter in meters):
        do = "set meter-address=HOST:PORT in lightningd's config; else only wallets can buy, by invoices and offers"
        yield Finding("address", "mind", "buyers' nodes do not know where to reach this one", do)


def _streams(streams: list[StreamStatus]) -> Iterator[Finding]:
    for stream in streams:
        about = f"stream {stream.session[:8]}"
        if stream.disputed:
            yield Finding(about, "bad", "seller and own count differ", f"lightning-cli stream-status {stream.session}")
        elif stream.trouble:
            yield Finding(about, "mind", stream.trouble, f"lightning-cli stream-status {stream.session}")


def _channels(node: Node, quantum: int, buys: bool) -> Iterator[Finding]:
    try:
        listed = node.call("listpeerchannels")["channels"]
    except (RpcError, NodeTrouble):
        return
    usable = [each for each in listed if each.get("state") == "CHANNELD_NORMAL"]
    online = [each for each in usable if each.get("peer_connected")]
    if not online:
        words = f"{len(usable)}, none of them with a peer that is connected" if usable else "there are none"
        yield Finding("channels", "bad", words, "open one, or connect to its peer; without it nothing can be paid")
        return
    try:
        inbound = sum(int(each.get("receivable_msat", 0)) for each in online)
        outbound = sum(int(each.get("spendable_msat", 0)) for each in online)
    except (TypeError, ValueError) as error:
        yield Finding(
            "channels", "mind", f"listpeerchannels answers nonsense: {error}", "look at it with lightning-cli"
        )
        return
    flows = f"{inbound // 1000:,} sat can come in, {outbound // 1000:,} sat can go out"
    words = f"{len(online)} of {len(usable)} connected; {flows}"
    if quantum and inbound < quantum:
        do = "spend through the channels, or have somebody open one to this node"
        yield Finding("channels", "bad", f"{words}: less than a meter's quantum can come in", do)
    elif buys and not quantum and outbound < 1000:
        do = "open a channel from this node, or receive through one"
        yield Finding("channels", "mind", f"{words}: it can buy nothing", do)
    else:
        yield Finding("channels", "good", words)

"""The options of the buyer's plugin: declared to lightningd, and read once as it starts the plugin."""

from dataclasses import dataclass

from pyln.client import Plugin

from ..core.errors import BadParam
from ..core.money import whole
from ..wire.address import parse


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What the node's owner has chosen; `sellers` are node ids, none for any."""

    sellers: frozenset[str]
    day_msat: int
    """The day's cap of streams that name none, fees included; 0 for none."""
    streams: int


def add(plugin: Plugin) -> None:
    """Declare the options."""
    plugin.add_option("stream-seller", None, "a node id that may be bought from; may be repeated", multi=True)
    plugin.add_option("stream-day-msat", "0", "day cap for streams that name none, fees included; 0: none")
    plugin.add_option("stream-max-streams", "500", "most live streams")


def read(plugin: Plugin) -> StreamOptions:
    """Returns the options; raises BadParam that names the one that is wrong."""
    return StreamOptions(
        day_msat=whole("stream-day-msat", plugin.get_option("stream-day-msat"), 0, 10**15),
        streams=whole("stream-max-streams", plugin.get_option("stream-max-streams"), 1, 100_000),
        sellers=frozenset(_node_id(each) for each in plugin.get_option("stream-seller") or []),
    )


def _node_id(seller: object) -> str:
    try:
        return parse(seller, None if "://" in str(seller) else "any").node_id
    except BadParam as error:
        raise BadParam(f"stream-seller: {error.message.removeprefix('seller: ')}", param="stream-seller") from error

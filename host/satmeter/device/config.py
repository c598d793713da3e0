"""bridge.toml: which meters are sold through which devices.

rpc = "~/.lightning/bitcoin/lightning-rpc"
[[meter]]
name = "socket"
ticks = 1            # of one unit of the source: 1 where the tariff counts Wh, and so does the plug
rating = 1           # ticks a second at most: 3.6 kW are 1 Wh a second
device = { kind = "shelly", host = "192.168.1.20" }
[[meter]]
name = "wallbox"
rating = 4
source = { kind = "modbus", registers = "sdm120", serial = "/dev/ttyUSB0" }
valve = { kind = "tasmota", broker = "localhost", topic = "contactor" }
[[meter]]
name = "tap"
device = { kind = "board", port = "/dev/satmeter-board" }    # of ours: it needs neither ticks nor rating
[homeassistant]      # has Home Assistant find the meters, over MQTT
broker = "localhost"
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from .. import config_file
from ..core.errors import BadParam
from ..core.money import MAX_TICKS
from ..core.plain import JsonObject
from ..core.tariff import check_name
from ..node import DEFAULT_SOCKET
from .boundary import Source, Valve, Whole
from .fields import Fields
from .kinds import Made, load
from .outlet import REPORT_MOST_S, REPORT_S

ALIKE = ("user", "password", "cadence_s", "dead_man_s", "cut_s")
"""Fields by which a source is not another one."""


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """One meter: `ticks` of the tariff are one unit of the source; `rating` is in ticks a second.

    `identity` is another where the source is another, `switched` where the valve is."""

    name: str
    ticks: Fraction
    rating: int
    source: Source
    valve: Valve
    identity: str
    switched: str


@dataclass(frozen=True, slots=True)
class WholeConfig:
    """A meter whose device sells by itself, as a board does."""

    name: str
    device: Whole
    switched: str


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """The whole file; `state` is the folder in which registers are kept over a restart.

    `report_s`: how often a reading that changes nothing is taken and said. `discovery` is told of the meters."""

    rpc: Path
    state: Path
    report_s: float
    meters: tuple[MeterConfig, ...]
    wholes: tuple[WholeConfig, ...]
    discovery: Fields | None


def read(path: Path) -> BridgeConfig:
    """Returns the config of a file; BadParam names the field, its value and the bound. Needs a running event loop."""
    return config_file.load(path, _checked)


def _checked(values: JsonObject) -> BridgeConfig:
    listed = values.pop("meter", [])
    fields = Fields("bridge", values)
    rpc = Path(fields.text("rpc", str(DEFAULT_SOCKET))).expanduser()
    state = Path(fields.text("state", "~/.local/state/satmeter")).expanduser()
    report_s = fields.number("report_s", 0.5, REPORT_MOST_S, REPORT_S)
    discovery = Fields("homeassistant", fields.table("homeassistant")) if fields.has("homeassistant") else None
    fields.end()
    if not isinstance(listed, list) or not listed:
        raise BadParam("meter: there has to be a [[meter]]", param="meter")
    made = [_meter(each) for each in listed]
    names = [each.name for each in made]
    for name in names:
        if names.count(name) > 1:
            raise BadParam(f"meter.name: {name!r} is there twice", param="name")
    meters = tuple(each for each in made if isinstance(each, MeterConfig))
    switched: dict[str, str] = {}
    for meter in made:
        other = switched.setdefault(meter.switched, meter.name)
        if other != meter.name:
            raise BadParam(f"meter {meter.name}: its valve is that of meter {other}", param="valve")
    counted: dict[str, str] = {}
    for each in meters:
        counts = getattr(each.source, "counts", "") or getattr(each.source, "switches", "") or each.identity
        other = counted.setdefault(counts, each.name)
        if other != each.name:
            raise BadParam(f"meter {each.name}: its source is that of meter {other}, too", param="source")
    wholes = tuple(each for each in made if isinstance(each, WholeConfig))
    return BridgeConfig(rpc, state, report_s, meters, wholes, discovery)


def _meter(values: object) -> MeterConfig | WholeConfig:
    if not isinstance(values, Mapping):
        raise BadParam("meter: must be a table", param="meter")
    fields = Fields("meter", values)
    name = check_name(fields.text("name"))
    where = f"meter {name}"
    fields = Fields(where, {key: value for key, value in values.items() if key != "name"})
    if fields.has("device"):
        identity = _identity(switched := fields.table("device"))
        source = valve = device(f"{where}.device", switched)
        if hasattr(source, "sell"):
            fields.end()
            return WholeConfig(name, source, _switched(source, switched))
    else:
        identity = _identity(given := fields.table("source"))
        source = device(f"{where}.source", given)
        valve = device(f"{where}.valve", switched := fields.table("valve"))
    ticks = Fraction(str(fields.number("ticks", 1e-6, 1e9, 1)))
    rating = fields.whole("rating", 1, MAX_TICKS)
    fields.end()
    for what, made, needed in (("source", source, "read"), ("valve", valve, "allow")):
        if not hasattr(made, needed):
            raise BadParam(f"{where}: {type(made).__name__} is no {what}: give another as {what} = {{...}}", param=what)
        if field := getattr(made, "missing", {}).get(what):
            raise BadParam(f"{where}: {field} is missing: without it the device is no {what}", param=field)
    dead_man_s = getattr(valve, "dead_man_s", 0)
    if 0 < dead_man_s <= 2 * source.cadence_s:
        raise BadParam(
            f"{where}: the valve goes off by itself after {dead_man_s:g} s, and it is told to stay on at each reading: "
            f"cadence_s must be under half of that, got {source.cadence_s:g}",
            param="cadence_s",
        )
    return MeterConfig(name, ticks, rating, source, valve, identity, _switched(valve, switched))


def _switched(valve: Made, given: Mapping[str, object]) -> str:
    """Returns what is another where another valve is switched, however its fields are written."""
    return _identity({"switches": valve.switches} if hasattr(valve, "switches") else given)


def _identity(given: Mapping[str, object]) -> str:
    said = {name: value for name, value in given.items() if name not in ALIKE}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]


def device(where: str, values: Mapping[str, object]) -> Made:
    """Returns the device of a table: its kind, and the kind's own fields."""
    fields = Fields(where, values)
    made = load(fields.text("kind"))(fields)
    fields.end()
    return made

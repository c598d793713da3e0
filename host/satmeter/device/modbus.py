"""Energy meters that speak Modbus, over TCP or a serial line (RTU): they count, and switch nothing.

Which registers a meter has is a file (registers/NAME.toml, or a path): a new meter is a new file. What switches has to
be another device.
"""

import asyncio
import math
import os
import struct
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from weakref import WeakKeyDictionary

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU

from .. import config_file
from ..core.errors import BadParam
from ..core.plain import JsonObject
from .boundary import Count, DeviceTrouble
from .fields import Fields, place

REGISTERS = Path(__file__).parent / "registers"
TIMEOUT_S, AGAIN_MOST_S = 2.0, 30.0
WORDS = {"float32": 2, "uint32": 2, "uint32-little": 2, "uint16": 1}


class Register:
    """One value of a meter: its first register, how it is written, and what one of it is in the map's unit."""

    def __init__(self, fields: Fields) -> None:
        self.address = fields.whole("address", 0, 65_535)
        self.kind = fields.text("type")
        self.scale = Decimal(str(fields.number("scale", 1e-9, 1e9, 1)))
        fields.end()
        if self.kind not in WORDS:
            raise BadParam(f"type: must be one of {', '.join(WORDS)}, got {self.kind!r}", param="type")

    @property
    def step(self) -> Decimal:
        """The smallest step that it shows; meters with binary numbers show hundredths of their unit."""
        return self.scale / 100 if self.kind == "float32" else self.scale

    def value(self, words: list[int]) -> Decimal:
        """Returns what registers come to; DeviceTrouble for no number."""
        if self.kind == "uint16":
            return words[0] * self.scale
        high, low = (words[1], words[0]) if self.kind == "uint32-little" else (words[0], words[1])
        raw = high << 16 | low
        if self.kind != "float32":
            return raw * self.scale
        (found,) = struct.unpack(">f", raw.to_bytes(4, "big"))
        if not math.isfinite(found):
            raise DeviceTrouble(f"register {self.address}: holds no number")
        return Decimal(repr(found)) * self.scale


@dataclass(frozen=True, slots=True)
class _Line:
    """A serial line, at which several meters may be: one asks at a time."""

    client: AsyncModbusSerialClient
    baud: int
    turn: asyncio.Lock


_LINES: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Line]]" = WeakKeyDictionary()


def _line(serial: str, baud: int) -> _Line:
    """Returns the line of a serial port; BadParam where another meter there has another baud rate."""
    lines = _LINES.setdefault(asyncio.get_running_loop(), {})
    if serial not in lines:
        client = AsyncModbusSerialClient(serial, baudrate=baud, timeout=TIMEOUT_S, retries=1)
        lines[serial] = _Line(client, baud, asyncio.Lock())
    if lines[serial].baud != baud:
        raise BadParam(f"baud: another meter at {serial} has {lines[serial].baud}, got {baud}", param="baud")
    return lines[serial]


class Modbus:
    """Fields: registers (sdm120, sdm230, pzem004t, or a .toml); host and port (TCP) or serial and baud (RTU); unit."""

    cadence_s, latency_s = 1.0, 1.0

    def __init__(self, fields: Fields) -> None:
        self._unit = fields.whole("unit", 1, 247, 1)
        self._map = registers(fields.text("registers"))
        self._fails, self._why, self._again_at, self._serial = 0, "", 0.0, fields.has("serial")
        if self._serial:
            self._where = os.path.realpath(fields.text("serial"))
            baud = fields.whole("baud", 1_200, 115_200, 9_600)
            line = _line(self._where, baud)
            self._client: AsyncModbusTcpClient | AsyncModbusSerialClient = line.client
            self._turn, there = line.turn, self._where
        else:
            self._where, port = fields.text("host"), fields.whole("port", 1, 65_535, 502)
            self._client = AsyncModbusTcpClient(self._where, port=port, timeout=TIMEOUT_S, retries=1)
            self._turn, there = asyncio.Lock(), f"{place(self._where)}:{port}"
        self.counts = f"modbus {there} {self._unit} {self._map['energy'].address}"

    async def read(self) -> Count:
        """Returns the energy, and the power where the map has it, in the map's units (Wh and W).

        A unit of a serial line that did not answer is asked ever more seldom: the others need the line meanwhile."""
        if time.monotonic() < self._again_at:
            raise DeviceTrouble(self._why)
        try:
            count = await self._read()
        except DeviceTrouble as error:
            self._fails, self._why = self._fails + 1, error.message
            if self._serial:
                self._again_at = time.monotonic() + min(AGAIN_MOST_S, 2.0 ** min(self._fails, 5))
            raise
        self._fails = 0
        return count

    async def _read(self) -> Count:
        async with self._turn:
            energy = await self._value(self._map["energy"])
            power = await self._value(self._map["power"]) if "power" in self._map else None
            return Count(energy, power, resolution=self._map["energy"].step)

    async def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    async def _value(self, register: Register) -> Decimal:
        try:
            if not self._client.connected and not await self._client.connect():
                raise DeviceTrouble(f"{self._where}: can't be reached: is it on, and is the port free?")
            read = self._client.read_holding_registers if self.holding else self._client.read_input_registers
            answer = await read(register.address, count=WORDS[register.kind], device_id=self._unit)
        except (ModbusException, OSError) as error:
            raise DeviceTrouble(f"{self._where}: unit {self._unit} does not answer: {error}") from error
        if answer.isError():
            raise DeviceTrouble(f"{self._where}: unit {self._unit} {_refusal(answer, register)}")
        if len(answer.registers) != WORDS[register.kind]:
            words = f"answers {len(answer.registers)} registers where {WORDS[register.kind]} were asked for"
            raise DeviceTrouble(f"{self._where}: unit {self._unit} {words}")
        return register.value(list(answer.registers))

    @property
    def holding(self) -> bool:
        """Whether the map's registers are holding registers; else they are input registers."""
        return bool(self._map.get("holding"))


def _refusal(answer: ModbusPDU, register: Register) -> str:
    """What a unit's exception means; only the second says that the register is not there."""
    code = getattr(answer, "exception_code", 0)
    if code == 2:
        return f"has no register {register.address}: another meter?"
    return {
        1: "does not know this function: are its registers of the other kind (holding)?",
        6: "is busy",
        10: "can't be reached by its gateway",
        11: "does not answer its gateway: is it on, and is that its unit?",
    }.get(code, f"refuses register {register.address} (exception {code})")


def registers(name: str) -> JsonObject:
    """Returns a meter's map by its name or its path; BadParam where it is none."""
    path = Path(name).expanduser() if name.endswith(".toml") else REGISTERS / f"{name}.toml"
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in REGISTERS.glob("*.toml")))
        raise BadParam(f"registers: there is no {path}; the known ones are {known}", param="registers")
    fields = Fields(path.stem, config_file.read(path))
    found: JsonObject = {"holding": fields.text("function", "input") == "holding"}
    found["energy"] = Register(Fields(f"{path.stem}.energy", fields.table("energy")))
    if fields.has("power"):
        found["power"] = Register(Fields(f"{path.stem}.power", fields.table("power")))
    fields.end()
    return found

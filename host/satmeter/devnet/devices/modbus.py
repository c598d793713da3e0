"""A Modbus meter: the simulator that comes with pymodbus."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

Registers = Mapping[int, list[int]]


@asynccontextmanager
async def simulated(values: Registers, unit: int = 1, live: Callable[[], Registers] = dict) -> AsyncIterator[int]:
    """A meter whose input registers hold these 16-bit values, by address; `live()` returns those that have changed.

    Gives its port."""

    async def action(_: int, start: int, address: int, count: int, registers: list[int], written: object) -> None:
        for at, changed in live().items():
            if start <= at < start + len(registers):
                registers[at - start : at - start + len(changed)] = changed

    data = [
        SimData(address, values=list(words), datatype=DataType.REGISTERS) for address, words in sorted(values.items())
    ]
    # Its transport tells a type checker nothing of its sockets.
    server: Any = ModbusTcpServer(SimDevice(unit, simdata=data, action=action), address=("127.0.0.1", 0))
    running = asyncio.create_task(server.serve_forever())
    while not (server.transport and server.transport.sockets):
        await asyncio.sleep(0.01)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()
        running.cancel()


def words(value: float) -> list[int]:
    """Returns a 32-bit float as two registers, the high one first."""
    return list(struct.unpack(">HH", struct.pack(">f", value)))

"""A Modbus meter: the simulator that comes with pymodbus."""

import asyncio
import struct
from contextlib import asynccontextmanager

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


@asynccontextmanager
async def simulated(values, unit=1, live=dict):
    """A meter whose input registers hold these 16-bit values, by address; `live()` returns those that have changed."""

    async def action(_, start, address, count, registers, written):
        for at, changed in live().items():
            if start <= at < start + len(registers):
                registers[at - start : at - start + len(changed)] = changed

    data = [SimData(address, values=words, datatype=DataType.REGISTERS) for address, words in sorted(values.items())]
    server = ModbusTcpServer(SimDevice(unit, simdata=data, action=action), address=("127.0.0.1", 0))
    running = asyncio.create_task(server.serve_forever())
    while not (server.transport and server.transport.sockets):
        await asyncio.sleep(0.01)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()
        running.cancel()


def words(value):
    return list(struct.unpack(">HH", struct.pack(">f", value)))

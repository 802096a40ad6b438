"""A pymodbus device for tests: registers hold their own address. Ends with its standard input.

modbus_server.py PORT
"""
import asyncio
import sys
import threading

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server.async_io import ModbusTcpServer
from pymodbus.transaction import ModbusSocketFramer


async def main():
    # zero_mode: address 0 on the wire is the block's first value.
    block = lambda: ModbusSequentialDataBlock(0, list(range(1000)))
    bits = lambda: ModbusSequentialDataBlock(0, [0] * 1000)
    slave = ModbusSlaveContext(di=bits(), co=bits(), hr=block(), ir=block(), zero_mode=True)
    context = ModbusServerContext(slaves={1: slave}, single=False)
    server = ModbusTcpServer(context, framer=ModbusSocketFramer, address=("127.0.0.1", int(sys.argv[1])))
    task = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0.3)
    print("ready", flush=True)
    done = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def wait():
        sys.stdin.read()
        loop.call_soon_threadsafe(done.set_result, None)

    threading.Thread(target=wait, daemon=True).start()
    await done
    task.cancel()


asyncio.run(main())

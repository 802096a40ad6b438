"""What the lab's PLCs share: a Modbus/TCP server (Debian's python3-pymodbus) around a process.

Standard output is the window that needs no network: one JSON object a line. "state" tells the
process values after every step, "write" each write a client made. Whoever holds the other end of
standard input keeps the device alive: it ends at end of file, so a killed lab leaves none behind.
"""
import argparse
import asyncio
import json
import logging
import random
import sys
import time

from pymodbus.datastore import (
    ModbusSequentialDataBlock,
    ModbusServerContext,
    ModbusSlaveContext,
)
from pymodbus.server.async_io import StartAsyncTcpServer

STEP_S = 0.1
UNIT = 1
# Larger than any range the demo's policy names, so that only the gateway is in the way of a write.
CELLS = 128


def say(event, **fields):
    fields["event"] = event
    fields["t"] = round(time.time() * 1000)
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class Area(ModbusSequentialDataBlock):
    """Registers or coils. Only requests from the network come through setValues."""

    def __init__(self, name):
        super().__init__(0, [0] * CELLS)
        self.name = name

    def setValues(self, address, values):  # pylint: disable=invalid-name
        values = list(values) if isinstance(values, (list, tuple)) else [values]
        say("write", area=self.name, address=address, values=[int(value) for value in values])
        super().setValues(address, values)


class Plc:
    """Subclasses set start values in `start` and move the process by STEP_S seconds in `step`."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.ticks = 0
        self.coils = Area("coils")
        self.discrete = Area("discrete-inputs")
        self.holding = Area("holding-registers")
        self.inputs = Area("input-registers")
        self.start()

    def start(self):
        raise NotImplementedError

    def step(self):
        raise NotImplementedError

    def values(self):
        """Process values by name, for people and tests."""
        raise NotImplementedError

    async def run_process(self):
        while True:
            # First the wait: by the first state the server listens.
            await asyncio.sleep(STEP_S)
            self.ticks += 1
            self.step()
            say("state", tick=self.ticks, **self.values())

    async def serve(self, address, port):
        unit = ModbusSlaveContext(
            di=self.discrete, co=self.coils, hr=self.holding, ir=self.inputs, zero_mode=True
        )
        context = ModbusServerContext(slaves={UNIT: unit}, single=False)
        await StartAsyncTcpServer(
            context=context, address=(address, port), allow_reuse_address=True
        )


async def until_stdin_ends():
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass


async def first_of(*jobs):
    """The device is up as long as all its parts are."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=502)
    parser.add_argument("--seed", type=int, default=7)
    return parser


def main(kind, *extra):
    options = arguments().parse_args()
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    plc = kind(options.seed)
    jobs = [make(plc, options) for make in extra]

    async def run():
        await first_of(
            plc.serve(options.address, options.port),
            plc.run_process(),
            until_stdin_ends(),
            *(job() for job in jobs),
        )

    asyncio.run(run())
    # pymodbus leaves tasks that would hold up an orderly end.
    sys.exit(0)

"""Many TCP connections at once to `devices/streams.py`. One JSON line for each as it ends.

All of them are open, and have been answered, before any goes on: `--count` is how many lived at once.
"""
import argparse
import asyncio
import hashlib
import json
import random
import sys
import time

CHUNK = 64 * 1024


def say(**fields):
    sys.stdout.write(json.dumps({"t": round(time.time() * 1000), **fields}) + "\n")
    sys.stdout.flush()


async def echo(reader, writer, options, number, all_open):
    sent = random.Random(number).randbytes(options.bytes)
    writer.write(b"E" + sent[:1])
    if await asyncio.wait_for(reader.read(1), options.timeout) != sent[:1]:
        return "closed"
    await all_open()

    async def send():
        for start in range(1, len(sent), CHUNK):
            writer.write(sent[start : start + CHUNK])
            await writer.drain()
        await asyncio.sleep(options.hold)
        writer.write_eof()

    sending = asyncio.create_task(send())
    back = sent[:1]
    while data := await asyncio.wait_for(reader.read(CHUNK), options.timeout + options.hold):
        back += data
    await sending
    right = back == sent + hashlib.sha256(sent).digest()
    return "right" if right else f"{len(back)} of {len(sent) + 32} bytes"


async def first(reader, writer, options, number, all_open):
    """The server ends its side first; what is sent after that still arrives."""
    writer.write(b"F")
    size = 0
    while data := await asyncio.wait_for(reader.read(CHUNK), options.timeout):
        size += len(data)
    await all_open()
    writer.write(random.Random(number).randbytes(options.bytes))
    writer.write_eof()
    await writer.drain()
    return "right" if size == 1024 * 1024 else f"{size} bytes"


async def quiet(reader, writer, options, number, all_open):
    """Says one byte, and waits for the end."""
    writer.write(b"Q")
    await all_open()
    began = time.monotonic()
    data = await asyncio.wait_for(reader.read(1), options.timeout)
    return f"{'data' if data else 'ended'} after {round(time.monotonic() - began, 1)} s"


async def talk(reader, writer, options, number, all_open):
    """A byte ten times a second, until the end or until nothing has come back for 1.5 s."""
    writer.write(b"E")
    for turn in range(int(options.timeout * 10)):
        writer.write(b"x")
        try:
            if await asyncio.wait_for(reader.read(1), 1.5) != b"x":
                return "ended"
        except asyncio.TimeoutError:
            return "silence"
        if turn == 0:
            await all_open()
        await asyncio.sleep(0.1)
    return "still open"


MODES = {"echo": echo, "first": first, "quiet": quiet, "talk": talk}


async def one(options, number, arrived, gate):
    async def all_open():
        arrived.append(number)
        if len(arrived) == options.count:
            say(event="all-open", count=len(arrived))
            gate.set()
        await asyncio.wait_for(gate.wait(), options.timeout)

    writer = None
    try:
        connecting = asyncio.open_connection(options.host, options.port)
        reader, writer = await asyncio.wait_for(connecting, options.timeout)
        result = await MODES[options.mode](reader, writer, options, number, all_open)
    except asyncio.TimeoutError:
        result = "timeout"
    except OSError as error:
        result = type(error).__name__
    say(event="result", number=number, result=result)
    if writer is not None:
        writer.close()


async def run(options):
    arrived, gate = [], asyncio.Event()
    await asyncio.gather(*(one(options, n, arrived, gate) for n in range(options.count)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--mode", choices=sorted(MODES), default="echo")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=65536)
    parser.add_argument("--hold", type=float, default=0.0, help="seconds before it ends")
    parser.add_argument("--timeout", type=float, default=15.0)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()

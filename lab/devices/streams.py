"""A TCP server that proves what arrived: the first byte says what it does with the rest.

E  sends every byte back as it comes; once the client has ended, the SHA-256 of all of them; ends.
F  sends a mebibyte, ends its own side first, goes on reading, and tells how much came.
Q  is quiet: reads, and never says anything.
"""
import argparse
import asyncio
import hashlib
import json
import sys
import time

CHUNK = 64 * 1024
FIRST = bytes(range(256)) * 4096


def say(event, **fields):
    sys.stdout.write(json.dumps({"event": event, "t": round(time.time() * 1000), **fields}) + "\n")
    sys.stdout.flush()


async def serve(reader, writer):
    peer = writer.get_extra_info("peername")[0]
    digest, size = hashlib.sha256(), 0
    try:
        mode = await reader.readexactly(1)
        if mode == b"F":
            writer.write(FIRST)
            await writer.drain()
            writer.write_eof()
        while data := await reader.read(CHUNK):
            digest.update(data)
            size += len(data)
            if mode == b"E":
                writer.write(data)
                await writer.drain()
        if mode == b"E":
            writer.write(digest.digest())
            await writer.drain()
        say("ended", peer=peer, bytes=size, sha256=digest.hexdigest())
    except (OSError, asyncio.IncompleteReadError) as error:
        say("broken", peer=peer, bytes=size, why=type(error).__name__)
    writer.close()


async def stdin_ends():
    stream = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)
    while await stream.read(1024):
        pass


async def run(ports):
    for port in ports:
        await asyncio.start_server(serve, "0.0.0.0", port, backlog=512)
    say("state", tcp=ports)
    await stdin_ends()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ports", type=int, nargs="+")
    asyncio.run(run(parser.parse_args().ports))


if __name__ == "__main__":
    main()

"""Ports that must answer: accepts TCP, takes UDP, and says who came, one JSON object a line."""
import argparse
import asyncio
import json
import sys
import time

BANNER = b"lab listener\r\n"


def say(event, **fields):
    sys.stdout.write(json.dumps({"event": event, "t": round(time.time() * 1000), **fields}) + "\n")
    sys.stdout.flush()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, port, answers):
        self.port = port
        self.answers = answers
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        say("datagram", port=self.port, peer=addr[0], text=data[:200].decode("latin-1"))
        if self.answers:
            self.transport.sendto(BANNER, addr)


async def accepted(reader, writer):
    peer, port = writer.get_extra_info("peername"), writer.get_extra_info("sockname")[1]
    say("accepted", port=port, peer=peer[0])
    try:
        writer.write(BANNER)
        await writer.drain()
        # One request at most: this is something to knock at, not a server.
        await asyncio.wait_for(reader.read(256), 5)
    except (OSError, asyncio.TimeoutError):
        pass
    writer.close()


async def stdin_ends():
    stream = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)
    while await stream.read(1024):
        pass


async def run(options):
    loop = asyncio.get_running_loop()
    for port in options.tcp:
        await asyncio.start_server(accepted, options.address, port)
    for port in options.udp:
        await loop.create_datagram_endpoint(
            lambda port=port: Datagrams(port, options.answer), local_addr=(options.address, port)
        )
    say("state", tcp=options.tcp, udp=options.udp)
    await stdin_ends()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="0.0.0.0")
    parser.add_argument("--tcp", type=int, action="append", default=[])
    parser.add_argument("--udp", type=int, action="append", default=[])
    parser.add_argument("--answer", action="store_true", help="datagrams get the banner back")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()

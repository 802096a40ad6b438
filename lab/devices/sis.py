"""Safety zone: a safety controller that only ever speaks: RFC 5424 status by UDP, once a second.

It has no listening port at all, so whatever arrives on its link was not asked for.
"""
import argparse
import json
import select
import socket
import sys
import time

INTERVAL_S = 0.5
# local0.info (RFC 5424 §6.2.1: 16 * 8 + 6).
PRIORITY = 134


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", default="10.40.0.10")
    parser.add_argument("--port", type=int, default=514)
    options = parser.parse_args()
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sequence = 0
    while True:
        readable, _, _ = select.select([sys.stdin], [], [], INTERVAL_S)
        if readable and not sys.stdin.readline():
            return
        sequence += 1
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = f"<{PRIORITY}>1 {stamp} sis brewery-sis - status - seq={sequence} trip=no"
        try:
            sender.sendto(text.encode(), (options.to, options.port))
            failed = None
        except OSError as error:
            failed = error.strerror
        state = {"event": "state", "t": round(time.time() * 1000), "sequence": sequence}
        if failed:
            state["failed"] = failed
        sys.stdout.write(json.dumps(state) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

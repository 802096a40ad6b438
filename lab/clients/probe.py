"""Knocks once: TCP connect (optionally sending bytes), or one UDP datagram. One JSON line."""
import argparse
import json
import socket
import sys
import time

ANSWER_MAX = 4096


def tcp(options):
    try:
        with socket.create_connection((options.host, options.port), options.timeout) as link:
            link.settimeout(options.timeout)
            if options.send:
                link.sendall(bytes.fromhex(options.send))
            try:
                answer = link.recv(ANSWER_MAX)
                ended = answer == b""
            except socket.timeout:
                answer, ended = b"", False
            except ConnectionResetError:
                answer, ended = b"", True
            return {"ok": True, "answer": answer.hex(), "ended": ended}
    except ConnectionRefusedError:
        return {"ok": False, "error": "refused"}
    except (socket.timeout, TimeoutError):
        return {"ok": False, "error": "timeout"}
    except OSError as error:
        return {"ok": False, "error": error.strerror or "failed"}


def udp(options):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(options.timeout)
        link.connect((options.host, options.port))
        try:
            link.send(bytes.fromhex(options.send) or b"lab")
            return {"ok": True, "answer": link.recv(ANSWER_MAX).hex()}
        except socket.timeout:
            return {"ok": True, "answer": ""}
        except OSError as error:
            return {"ok": False, "error": error.strerror or "failed"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("protocol", choices=["tcp", "udp"])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--timeout", type=float, default=1.0)
    parser.add_argument("--send", default="", help="bytes in hex")
    options = parser.parse_args()
    result = (tcp if options.protocol == "tcp" else udp)(options)
    sys.stdout.write(json.dumps({"t": round(time.time() * 1000), **result}) + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())

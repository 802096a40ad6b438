"""One TCP connection that never stops asking: `hold HOST PORT` sends a number every so often and tells
each that comes back; `serve PORT...` sends back whatever comes. One JSON object a line.

No number is sent twice and no connection is dialled twice: a gap is a gap, and an end is an end.
"""
import json
import select
import socket
import sys
import time

INTERVAL_S = 0.1
CONNECT_S = 5.0
CLIENTS_MAX = 64


def say(**fields):
    sys.stdout.write(json.dumps({"t": round(time.time() * 1000), **fields}) + "\n")
    sys.stdout.flush()


def hold(host, port):
    try:
        link = socket.create_connection((host, port), CONNECT_S)
    except OSError as error:
        say(op="connect", ok=False, error=str(error))
        return 1
    link.setblocking(True)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent, kept = 0, b""
    while True:
        readable, _, _ = select.select([link], [], [], INTERVAL_S)
        try:
            if readable:
                chunk = link.recv(4096)
                if chunk == b"":
                    say(op="ended", ok=False, error="closed")
                    return 1
                *lines, kept = (kept + chunk).split(b"\n")
                for line in lines:
                    say(op="tick", ok=True, number=int(line))
                continue
            sent += 1
            link.sendall(b"%d\n" % sent)
        except OSError as error:
            say(op="ended", ok=False, error=str(error))
            return 1


def serve(ports):
    listeners = [socket.create_server(("0.0.0.0", port)) for port in ports]
    clients = []
    say(op="serve", ok=True)
    while True:
        readable, _, _ = select.select(listeners + clients, [], [])
        for link in readable:
            if link in listeners:
                accepted, _ = link.accept()
                if len(clients) < CLIENTS_MAX:
                    clients.append(accepted)
                else:
                    accepted.close()
                continue
            try:
                chunk = link.recv(4096)
                if chunk:
                    link.sendall(chunk)
                    continue
            except OSError:
                pass
            clients.remove(link)
            link.close()


if sys.argv[1] == "serve":
    serve([int(port) for port in sys.argv[2:]])
else:
    sys.exit(hold(sys.argv[2], int(sys.argv[3])))

"""A Modbus/TCP client (Debian's python3-pymodbus) that says what happened, one JSON object a line.

  read  HOST --area holding --address 0 --count 2
  write HOST --address 10 --values 600 [--function single|multiple|coil]
  loop  HOST --area input --address 0 --interval-ms 200 --seconds 5 [--reconnect] [--write 5=260]

`loop` holds one connection; "ended" carries the moment it was closed or reset, which is noticed
between requests too. Each result has t (ms since 1970), ok, and values, exception or error.
"""
import argparse
import json
import logging
import select
import socket
import sys
import time

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.pdu import ExceptionResponse


def say(**fields):
    sys.stdout.write(json.dumps({"t": round(time.time() * 1000), **fields}) + "\n")
    sys.stdout.flush()


def why_of(error):
    if isinstance(error, ConnectionResetError):
        return "reset"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "timeout"
    if isinstance(error, ConnectionException):
        return "closed"
    return getattr(error, "strerror", None) or type(error).__name__


class Client:
    def __init__(self, options):
        self.options = options
        self.client = ModbusTcpClient(options.host, port=options.port, retries=0)
        # Its constructor rounds fractions of a second down, to none at all.
        self.client.params.timeout = options.timeout

    def connect(self):
        """Dials by itself, because pymodbus keeps the reason of a failed connect for itself."""
        options = self.options
        source = (options.source, options.source_port) if options.source_port else None
        try:
            self.client.socket = socket.create_connection(
                (options.host, options.port), options.timeout, source
            )
            return True
        except OSError as error:
            say(op="connect", ok=False, error=why_of(error))
            return False

    def ask(self, op, call, **extra):
        """True while the connection can be used."""
        began = time.time()
        try:
            answer = call()
        except (OSError, ModbusException, AttributeError) as error:
            # pymodbus meets its own closed socket with an AttributeError.
            say(op=op, ok=False, error=why_of(error), **extra)
            return False
        if isinstance(answer, ExceptionResponse):
            say(op=op, ok=False, exception=answer.exception_code, **extra)
            return True
        if answer.isError():
            waited = time.time() - began >= self.options.timeout
            say(op=op, ok=False, error="timeout" if waited else "closed", **extra)
            return False
        values = getattr(answer, "registers", None) or getattr(answer, "bits", None)
        if values is not None:
            extra["values"] = [int(value) for value in values]
        say(op=op, ok=True, **extra)
        return True

    def read(self):
        options = self.options
        call = {
            "holding": self.client.read_holding_registers,
            "input": self.client.read_input_registers,
            "coils": self.client.read_coils,
            "discrete": self.client.read_discrete_inputs,
        }[options.area]
        return self.ask("read", lambda: call(options.address, options.count, slave=options.unit))

    def write(self, address, values, function):
        client, unit = self.client, self.options.unit
        call = {
            "single": lambda: client.write_register(address, values[0], slave=unit),
            "multiple": lambda: client.write_registers(address, values, slave=unit),
            "coil": lambda: client.write_coil(address, bool(values[0]), slave=unit),
        }[function]
        return self.ask("write", call, address=address)

    def watch(self, seconds):
        """Waits, unless the other side ends the connection: then says when and how."""
        readable, _, _ = select.select([self.client.socket], [], [], seconds)
        if not readable:
            return True
        try:
            if self.client.socket.recv(1, socket.MSG_PEEK):
                # Nothing was asked, so nothing should come: leave it for the next read to trip on.
                time.sleep(seconds)
                return True
            how = "closed"
        except OSError as error:
            how = why_of(error)
        say(op="ended", ok=False, error=how)
        return False


def loop(client, options):
    end = time.monotonic() + options.seconds
    connected = False
    while time.monotonic() < end:
        if not connected:
            connected = client.connect()
        if connected:
            connected = client.read()
        if connected and options.write:
            address, value = options.write.split("=")
            connected = client.write(int(address), [int(value)], "single")
        pause = options.interval_ms / 1000
        if connected:
            connected = client.watch(pause)
        elif options.reconnect:
            client.client.close()
            time.sleep(pause)
        else:
            return 1
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("op", choices=["read", "write", "loop"])
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=502)
    parser.add_argument("--unit", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=2.0)
    parser.add_argument("--source", default="")
    parser.add_argument("--source-port", type=int, default=0)
    parser.add_argument("--area", default="holding")
    parser.add_argument("--address", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--values", default="0")
    parser.add_argument("--function", default="single")
    parser.add_argument("--interval-ms", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--reconnect", action="store_true")
    parser.add_argument("--write", default="")
    options = parser.parse_args()
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    client = Client(options)
    if options.op == "loop":
        return loop(client, options)
    if not client.connect():
        return 1
    if options.op == "read":
        return 0 if client.read() else 1
    values = [int(value) for value in options.values.split(",")]
    return 0 if client.write(options.address, values, options.function) else 1


if __name__ == "__main__":
    sys.exit(main())

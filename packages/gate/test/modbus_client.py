"""A pymodbus client for tests: one JSON request a line in, one JSON answer a line out.

modbus_client.py PORT
{"do": "read_holding_registers", "with": [0, 2], "unit": 1}
"""
import json
import sys

from pymodbus.client import ModbusTcpClient

client = ModbusTcpClient("127.0.0.1", port=int(sys.argv[1]), timeout=5, retries=0)
if not client.connect():
    sys.exit("cannot connect")
for line in sys.stdin:
    ask = json.loads(line)
    answer = getattr(client, ask["do"])(*ask.get("with", []), **ask.get("named", {}), slave=ask.get("unit", 1))
    if hasattr(answer, "exception_code"):
        out = {"exception": answer.exception_code}
    elif answer.isError():
        out = {"error": str(answer)}
    else:
        out = {"registers": getattr(answer, "registers", None), "bits": getattr(answer, "bits", None)}
    print(json.dumps(out), flush=True)
client.close()

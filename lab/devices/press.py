"""Cell B: a press that counts its cycles.

holding registers  0 cycles  1 force now (kN)  2 force of the last stroke (kN)
                   3 mode (0 stopped, 1 automatic)  4 cycle (ticks)  5 wanted force (kN)
input registers    0 force now (kN)  1 ram position (mm)
coils              0 running (set by the PLC)
TCP 4711           the drive's diagnosis port: answers each connection with one line of text
"""
import asyncio
import math

import plc

STROKE_MM = 400
# Some registers are the machine's own: whatever a client writes there, the next step overwrites.
CYCLES, FORCE, LAST_FORCE, MODE, CYCLE_TICKS, WANTED_FORCE = range(6)


class Press(plc.Plc):
    def start(self):
        self.phase = 0.0
        self.cycles = 0
        self.last_force = 0
        self.holding.values[MODE] = 1
        self.holding.values[CYCLE_TICKS] = 12
        self.holding.values[WANTED_FORCE] = 250

    def step(self):
        registers = self.holding.values
        if registers[MODE] == 1:
            self.phase += 1 / max(4, registers[CYCLE_TICKS])
            if self.phase >= 1:
                self.phase -= 1
                self.cycles += 1
                self.last_force = round(registers[WANTED_FORCE] * self.random.uniform(0.97, 1.03))
        down = math.sin(math.pi * self.phase) if registers[MODE] == 1 else 0.0
        force = round(registers[WANTED_FORCE] * down**4)
        registers[CYCLES] = self.cycles % 65536
        registers[FORCE] = force
        registers[LAST_FORCE] = self.last_force
        self.inputs.values[0:2] = [force, round(STROKE_MM * down)]
        self.coils.values[0] = registers[MODE] == 1

    def values(self):
        registers = self.holding.values
        return {
            "cycles": self.cycles,
            "force": registers[FORCE],
            "mode": registers[MODE],
            "wantedForce": registers[WANTED_FORCE],
            "holding": list(registers[0:50]),
        }


DIAGNOSIS_PORT = 4711
MODBUS_PORT = 502


def diagnosis(press, options):
    async def answer(_, writer):
        plc.say("diagnosis", peer=writer.get_extra_info("peername")[0])
        writer.write(f"PRESS DRIVE OK cycles={press.cycles}\r\n".encode())
        await writer.drain()
        writer.close()

    async def serve():
        # On loopback the whole machine shares its ports: only Modbus, on the port that was given.
        if options.port != MODBUS_PORT:
            await asyncio.Event().wait()
        server = await asyncio.start_server(answer, options.address, DIAGNOSIS_PORT)
        await server.serve_forever()

    return serve


if __name__ == "__main__":
    plc.main(Press, diagnosis)

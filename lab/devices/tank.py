"""Cell A: a tank that a PLC keeps at a fill level while the brewery draws from it.

input registers    0 level (mm)  1 inflow (ml/s)  2 outflow (ml/s)  3 inlet valve (per mille)
holding registers  10 wanted level (mm)  20 valve gain (%)  21 recipe number  22..39 recipe
coils              0 automatic  8 high-level alarm (set by the PLC)
"""
import math

import plc

HIGH_LEVEL_MM = 900
FULL_MM = 1000
INFLOW_MAX = 400.0
DEMAND_MEAN = 160.0
DEMAND_SWING = 90.0
DEMAND_PERIOD_TICKS = 40
# mm of level for each ml/s and second: a small tank, so that values move while one watches.
MM_PER_FLOW = 0.12


class Tank(plc.Plc):
    def start(self):
        self.level = 500.0
        self.inflow = self.outflow = 0.0
        self.coils.values[0] = True
        self.holding.values[10] = 500
        self.holding.values[20] = 100
        self.holding.values[21] = 3

    def step(self):
        swing = math.sin(2 * math.pi * self.ticks / DEMAND_PERIOD_TICKS)
        self.outflow = DEMAND_MEAN + DEMAND_SWING * swing + self.random.uniform(-15, 15)
        gain = self.holding.values[20] / 100
        valve = gain * (self.holding.values[10] - self.level) / 60 + 0.4
        self.inflow = INFLOW_MAX * min(1.0, max(0.0, valve)) if self.coils.values[0] else 0.0
        self.level += (self.inflow - self.outflow) * MM_PER_FLOW * plc.STEP_S
        self.level = min(float(FULL_MM), max(0.0, self.level))
        self.inputs.values[0:4] = [
            round(self.level),
            round(self.inflow),
            round(self.outflow),
            round(1000 * self.inflow / INFLOW_MAX),
        ]
        self.coils.values[8] = self.level > HIGH_LEVEL_MM

    def values(self):
        return {
            "level": round(self.level, 1),
            "inflow": round(self.inflow),
            "outflow": round(self.outflow),
            "setpoint": self.holding.values[10],
            "alarm": bool(self.coils.values[8]),
            "automatic": bool(self.coils.values[0]),
            "holding": list(self.holding.values[0:40]),
        }


if __name__ == "__main__":
    plc.main(Tank)

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Json } from "@sallyport/core";
import type { Status } from "../status.ts";
import { statusText } from "./status-text.ts";

const STATUS: Status = {
  instance: "main",
  site: "brewery-7",
  generation: 3,
  degraded: [],
  timeTrusted: true,
  islands: [],
  conduits: [
    {
      ...{ name: "vendor-services-press", via: "session", from: "vendor", to: "cell-b" },
      ...{ open: false, reason: "no-grant", packets: 0, bytes: 0 },
    },
  ],
  grants: [],
  denials: [
    {
      ...{ point: "outer", reason: "to-gateway", sourceZone: "enterprise", destinationZone: "" },
      ...{ conduit: "", packets: 2 },
    },
  ],
  tripwire: [],
};

function text(status: Status): string {
  return statusText(JSON.parse(JSON.stringify(status)) as Json);
}

test("a session conduit is closed until a grant opens it, whose end is told to the second", () => {
  assert.match(text(STATUS), /vendor-services-press .* closed: no-grant/);
  const grant = {
    ...{ id: "g-1", person: "vendor-tech", conduit: "vendor-services-press", asset: "press-plc" },
    ...{ source: "10.20.0.10", until: "2026-11-22T17:25:35.696Z", packets: 20 },
  };
  const open = text({ ...STATUS, grants: [grant] });
  assert.match(open, /vendor-services-press .* open for a grant/);
  assert.match(open, /g-1 .* 2026-11-22 17:25:35 UTC/);
});

test("a packet to the gateway itself is not told as one to nowhere", () => {
  assert.match(text(STATUS), /to-gateway +enterprise → the gateway +outer +2/);
});

/**
 * A PLC without any route out of its cell, behind a zone with `source: gateway`: it answers what the
 * policy allows, sees the gateway's address alone, and nobody else reaches it.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { describeAnswer, readModbus } from "../lab/client.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { must } from "../lab/shell.ts";
import { buildSite, plantPolicy } from "../lab/site.ts";
import { denials, Hold, inRoom } from "./hands/rooms.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const GATEWAY = "10.41.0.1";
/** All three may read this. */
const HOLDING = { area: "holding", address: 20, count: 2 } as const;
const IPV4 = 0x0800;

test("a PLC without a route answers the ERP and the HMI, and sees the gateway's address alone", {
  skip: why ?? false,
}, async () => {
  const { name, text } = plantPolicy();
  const cell = "    attach: { nic: cella0, address: 10.41.0.1/24 }\n";
  assert.ok(text.includes(cell));
  const policy = { name, text: text.replace(cell, `${cell}    source: gateway\n`) };
  const site = await buildSite({ name: `g${process.pid}`, mode: "kernel", policy });
  try {
    const { plant } = site;
    const plc = plant.netns("tank-plc");
    assert.ok(plc !== undefined);
    await must(["ip", "route", "del", "default"], { netns: plc });
    const tank = { address: plant.address("tank-plc"), port: 502 };
    const reads = async (host: Parameters<typeof readModbus>[1]): Promise<string> =>
      describeAnswer(await readModbus(plant, host, tank, HOLDING));
    const link = await plant.capture("tank-plc");
    const callers = (): string[] => {
      const inbound = link.since(0).filter(({ ethertype, destination }) => {
        return ethertype === IPV4 && destination === tank.address;
      });
      return [...new Set(inbound.map(({ source }) => source))];
    };

    for (const host of ["erp", "hmi", "eng-ws"] as const) assert.match(await reads(host), /^read /);
    assert.deepEqual(callers(), [GATEWAY]);

    for (const host of ["vendor-pc", "historian"] as const) {
      assert.doesNotMatch(await reads(host), /^read /, host);
    }
    assert.ok((await denials(site, "no-conduit", "enterprise")) > 0);
    // The address that it may answer to is no service for it.
    const knock = `import socket; socket.create_connection(("${GATEWAY}", 502), 1)`;
    const knocked = await plant.run("tank-plc", ["/usr/bin/python3", "-c", knock]);
    assert.notEqual(knocked.code, 0);
    assert.ok((await denials(site, "to-gateway", "cell-a")) > 0);
    assert.deepEqual(callers(), [GATEWAY]);

    // Without the translation, and with a way back for the PLC, still nothing comes back.
    const hold = await Hold.take(site);
    await inRoom(site, "inner", "nft", "delete", "chain", "ip", "sallyport_gates", "dial");
    await must(["ip", "route", "add", "default", "via", GATEWAY], { netns: plc });
    for (const host of ["erp", "hmi", "vendor-pc"] as const) {
      assert.doesNotMatch(await reads(host), /^read /, host);
    }
    assert.ok(
      callers().some((source) => source.startsWith("10.31.0.")),
      "it was asked, in vain",
    );
    await must(["ip", "route", "del", "default"], { netns: plc });
    assert.ok((await hold.repaired()).length > 0, "the enforcer noticed");
    assert.match(await reads("erp"), /^read /);
    await link.stop();
  } finally {
    await site.destroy();
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./apply/run.ts";
import { exportText } from "./export.ts";
import { ipBatch } from "./rooms/instance.ts";
import { conduit, kernelTestsNeed, leg, smallPlant } from "./rooms/site.test-kit.ts";

const NOW = Date.UTC(2026, 10, 22);
const PORT = 4711;
const legs = smallPlant([
  conduit("b-to-a", [leg("inner", "10.42.0.10", "10.41.0.10", "tcp", PORT)]),
  conduit("b-pings-a", [leg("inner", "10.42.0.10", "10.41.0.10", "icmp")]),
  conduit("old", [leg("inner", "10.42.0.11", "10.41.0.10", "tcp", PORT)], { expires: NOW }),
  conduit("outside", [leg("outer", "10.10.0.10", "10.30.0.10", "tcp", PORT)]),
]);

test("an export names each open conduit of its point and nothing else", () => {
  for (const target of ["nftables", "iptables"]) {
    const text = exportText(legs, "inner", target, NOW);
    const named = ["b-to-a", "b-pings-a", "old", "outside"].filter((n) => text.includes(`"${n}"`));
    assert.deepEqual(named, ["b-to-a", "b-pings-a"], target);
  }
  assert.throws(() => exportText(legs, "inner", "asa", NOW), { code: "unknown-export" });
});

test("nft takes the export, and a router with it passes what the policy says", {
  skip: kernelTestsNeed() ?? false,
}, async () => {
  const names = ["r", "a", "b"].map((name) => `t${process.pid}-x-${name}`);
  const [router = "", a = "", b = ""] = names;
  await ipBatch(
    undefined,
    names.map((name) => `netns add ${name}`),
  );
  try {
    for (const [netns, network] of [
      [a, "10.41.0"],
      [b, "10.42.0"],
    ] as const) {
      const dev = `v${network.slice(3, 5)}`;
      await ipBatch(router, [
        `link add ${dev} type veth peer name eth0 netns ${netns}`,
        `addr add ${network}.1/24 dev ${dev}`,
        `link set ${dev} up`,
      ]);
      await ipBatch(netns, [
        `addr add ${network}.10/24 dev eth0`,
        "link set eth0 up",
        `route add default via ${network}.1`,
      ]);
    }
    await run("sysctl", ["-q", "-w", "net.ipv4.ip_forward=1"], { netns: router });
    const input = exportText(legs, "inner", "nftables", NOW);
    await run("nft", ["-f", "-"], { netns: router, input });
    const ping = (from: string, to: string): Promise<boolean> =>
      run("ping", ["-c", "1", "-W", "1", "-q", to], { netns: from }).then(
        () => true,
        () => false,
      );
    assert.equal(await ping(b, "10.41.0.10"), true);
    assert.equal(await ping(a, "10.42.0.10"), false);
  } finally {
    await ipBatch(
      undefined,
      names.map((name) => `netns del ${name}`),
      true,
    );
  }
});

/**
 * One grant beside a whole change, both as the enforcer does them on a plant of 10,000 conduits: with
 * what it writes down, reads back and has a guard for. A person waits for a grant; revoking must not.
 */
import process from "node:process";
import type { Conduit, Legs } from "@sallyport/policy";
import type { Bench } from "./bench.ts";
import { Gateway } from "./engine.gateway.ts";
import { NOW, plantLegs } from "./engine.plant.ts";
import { interleaved, median, roundsOr, tookMs } from "./ratio.ts";

const CONDUITS = 10_000;
const ROUNDS = 3;
/** Of each round: a change takes long, a grant should not. */
const GRANTS = 3;
const SESSION = `conduits:
  zz-service:
    from: a0-0
    to: a5-0
    service: ssh
    via: session
    through: gate-0
    session: { people: [tech], max: 2h, approvals: 1, record: true, mode: read-only, slots: 1 }
    owner: team
    why: The grant that is measured
    expires: 2035-12-31
`;

export const bench: Bench = {
  name: "engine.grant",
  goals: (["add", "revoke"] as const).map((what) => ({
    id: what,
    what: `10,000 conduits, ${what === "add" ? "adding" : "revoking"} one grant to a full apply`,
    goal: "<= 0.05",
  })),

  async run() {
    if (process.getuid?.() !== 0) {
      const skipped = "needs root: network namespaces, eBPF";
      return bench.goals.map(({ id }) => ({ id, ratio: null, skipped }));
    }
    const legs = plantLegs(CONDUITS, "proxy", SESSION);
    await using gateway = await Gateway.open(legs, () => NOW);
    await gateway.apply(legs);
    let number = 0;
    const seen = await interleaved(roundsOr(ROUNDS), {
      apply: () => tookMs(() => gateway.apply(legs)),
      grants: async () => {
        const times: { readonly add: number; readonly revoke: number }[] = [];
        for (let turn = 0; turn < GRANTS; turn++) {
          const request = grantRequest(legs, `g-${number++}`);
          const add = await tookMs(() => gateway.enforcement.addGrant(request));
          const revoke = await tookMs(() => gateway.enforcement.revokeGrant(request.id));
          times.push({ add, revoke });
        }
        return times;
      },
    });
    return (["add", "revoke"] as const).map((id) => {
      const times = seen.grants.flat().map((found) => found[id]);
      const ratio = median(times) / median(seen.apply);
      return { id, ratio, note: `${times.length} grants, ${seen.apply.length} changes` };
    });
  },
};

function grantRequest(legs: Legs, id: string): Parameters<Gateway["enforcement"]["addGrant"]>[0] {
  const conduit: Conduit | undefined = legs.conduits.find(({ name }) => name === "zz-service");
  const source = conduit?.legs.find(({ point }) => point === "outer")?.from[0]?.first;
  const asset = conduit?.listeners[0]?.asset;
  if (source === undefined || asset === undefined) throw new Error("no session conduit");
  const rest = { conduit: "zz-service", person: "tech", reason: "bench", seconds: 600 };
  return { id, source, asset, ...rest };
}

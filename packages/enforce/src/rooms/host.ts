/** The host's side: it lends the plant's NICs and forwards between none of them. */
import { SallyportError } from "@sallyport/core";
import { run } from "../apply/run.ts";
import { ipBatch } from "./instance.ts";

interface HostLink {
  readonly ifname: string;
  readonly ifalias?: string;
  readonly flags: readonly string[];
}

/** Written to a NIC's alias, which survives moves: how a killed instance's NICs are told apart. */
const LENT = "sallyport";

/** Whether the host has these NICs and forwards between none of them; before any of them moves. */
export async function checkNics(hostNetns: string, nics: readonly string[]): Promise<void> {
  if (nics.length === 0) return;
  const links = await linksOf(hostNetns);
  const missing = nics.filter((nic) => !links.some(({ ifname }) => ifname === nic));
  if (missing.length > 0) {
    const hint = `the host has ${links.map(({ ifname }) => ifname).join(", ")}`;
    const message = `the host has no network interface ${missing.join(", ")}`;
    throw new SallyportError("no-such-nic", message, { hint });
  }
  const up = links.filter(({ ifname, flags }) => nics.includes(ifname) && flags.includes("UP"));
  if (up.length < 2) return;
  const keys = up.map(({ ifname }) => `net/ipv4/conf/${ifname}/forwarding`);
  const values = (await run("sysctl", ["-n", ...keys], { netns: hostNetns })).split("\n");
  const forwarding = up.filter((_, index) => values[index] === "1").map(({ ifname }) => ifname);
  if (forwarding.length === 0) return;
  const message = `the host itself forwards between plant NICs (${forwarding.join(", ")})`;
  const hint = "sysctl -w net.ipv4.ip_forward=0, or set these NICs down before the gateway starts";
  throw new SallyportError("host-forwarding", message, { hint });
}

/** Moves NICs into a room: down before they leave, and still down when they arrive. */
export async function takeNics(
  hostNetns: string,
  netns: string,
  nics: readonly string[],
): Promise<void> {
  const lines = nics.flatMap((nic) => [
    `link set ${nic} down alias ${LENT}`,
    `link set ${nic} netns ${netns}`,
  ]);
  await ipBatch(hostNetns, lines);
}

/** Returns NICs to the host, all that were lent to the room or only those named; they stay down. */
export async function returnNics(
  netns: string,
  hostNetns: string,
  only?: readonly string[],
): Promise<void> {
  const lent = (await linksOf(netns)).filter(({ ifalias }) => ifalias === LENT);
  const names = lent.map(({ ifname }) => ifname).filter((name) => only?.includes(name) ?? true);
  await ipBatch(
    netns,
    names.flatMap((name) => [`link set ${name} down`, `link set ${name} netns ${hostNetns}`]),
    true,
  );
  await ipBatch(
    hostNetns,
    names.map((name) => `link set ${name} alias ''`),
    true,
  );
}

async function linksOf(netns: string): Promise<HostLink[]> {
  return JSON.parse(await run("ip", ["-j", "link", "show"], { netns })) as HostLink[];
}

/** The plant and its gateway with a listener on every host and every link watched. */
import process from "node:process";
import { buildSite, type Site } from "../../lab/site.ts";
import { Links } from "./links.ts";
import { type Extra, listenEverywhere, portLists, type PortLists } from "./plant-ports.ts";
import { type Told, toldBy } from "./told.ts";

export interface Stand {
  readonly site: Site;
  readonly links: Links;
  readonly ports: PortLists;
  /** Before anything was changed. */
  readonly first: Told;
}

export async function buildStand(letter: string, extra: Extra = {}): Promise<Stand> {
  const site = await buildSite({ name: `${letter}${process.pid}`, mode: "kernel" });
  try {
    const first = await toldBy(site);
    await listenEverywhere(site, extra);
    const rooms = first.legs.rooms.map(({ name }) => name);
    const links = await Links.watch(site, rooms);
    return { site, links, ports: await portLists(first.legs), first };
  } catch (error) {
    await site.destroy();
    throw error;
  }
}

/** The plant with the gateway in its middle, as the demo and the end-to-end tests want it. */
import fs from "node:fs";
import path from "node:path";
import { SallyportError } from "@sallyport/core";
import { type Instance, instanceNamed, startSupervisor, stopGateway } from "sallyport";
import { Product } from "./product.ts";
import type { Mode, PolicyText } from "./story.ts";
import { buildPlant, type Plant } from "./topology.ts";

export interface Site {
  readonly plant: Plant;
  readonly product: Product;
  readonly instance: Instance;
  readonly policy: PolicyText;
  /** Gateway down, plant gone, files removed. */
  destroy(): Promise<void>;
}

export interface SiteOptions {
  /** Of the gateway's instance and, with `sp` before it, of the plant. */
  readonly name: string;
  readonly mode: Mode;
  readonly policy?: PolicyText;
  readonly devices?: boolean;
}

const CONFIRM_SECONDS = 60;

export function plantPolicy(): PolicyText {
  const file = path.join(import.meta.dirname, "plant/site.yaml");
  return { name: "site.yaml", text: fs.readFileSync(file, "utf8") };
}

/** Builds the plant, starts the gateway on its box, applies the policy and confirms it. */
export async function buildSite(options: SiteOptions): Promise<Site> {
  const instance = instanceNamed(options.name);
  const policy = options.policy ?? plantPolicy();
  const plant = await buildPlant({
    prefix: `sp${options.name}`,
    ...(options.devices === undefined ? {} : { devices: options.devices }),
  });
  const product = new Product(instance, options.mode);
  const destroy = async (): Promise<void> => {
    try {
      await stopGateway(instance, `/run/netns/${plant.box}`);
    } finally {
      await plant.destroy();
      fs.rmSync(instance.stateDir, { recursive: true, force: true });
    }
  };
  try {
    await startSupervisor(instance, { hostNetns: `/run/netns/${plant.box}`, foreground: false });
    await applyAndConfirm(product, policy);
    return { plant, product, instance, policy, destroy };
  } catch (error) {
    await destroy();
    throw error;
  }
}

export async function applyAndConfirm(product: Product, policy: PolicyText): Promise<number> {
  const applied = await product.apply(policy, CONFIRM_SECONDS);
  if (applied.kind === "refused") {
    throw new SallyportError("policy-refused", applied.diagnostics.join("\n"));
  }
  await product.confirm(applied.generation);
  return applied.generation;
}

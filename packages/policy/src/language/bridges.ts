import type { Reporter } from "./report.ts";
import type { Component, ResolvedConduit } from "./resolved.ts";

/**
 * A component that IT can reach, directly or through other components, must not reach OT by itself:
 * whoever takes it over would stand in the plant. Gates decode what passes them and sessions have a
 * grant, so a way ends at either.
 */
export function checkBridges(conduits: readonly ResolvedConduit[], reporter: Reporter): void {
  const plain = conduits.filter(
    (conduit) => conduit.gate === undefined && conduit.via !== "session",
  );
  const reached = new Map<Component, string>();
  for (const { from, to, name } of plain) {
    if (to.component !== undefined && from.side === "it") reached.set(to.component, name);
  }
  // Each pass adds a component or ends, so it ends after as many passes as there are components.
  for (let isGrowing = true; isGrowing; ) {
    isGrowing = false;
    for (const { from, to, name } of plain) {
      const via = from.component === undefined ? undefined : reached.get(from.component);
      if (via === undefined || to.component === undefined || reached.has(to.component)) continue;
      if (from.component?.kind === "gate") continue;
      reached.set(to.component, `${via}, ${name}`);
      isGrowing = true;
    }
  }
  for (const { from, to, name, place } of plain) {
    const { component } = from;
    const path = component === undefined ? undefined : reached.get(component);
    if (component === undefined || path === undefined || component.kind === "gate") continue;
    if (to.side !== "ot" || to.component !== undefined) continue;
    const what = `conduit "${name}" lets "${component.name}" reach OT, and IT reaches "${component.name}" (${path})`;
    const hint = `go through a gate: through: <gate>, or make "${component.name}" a gate or a session`;
    reporter.report("component-bridges", place, what, hint);
  }
}

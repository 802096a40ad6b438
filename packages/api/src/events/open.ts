/** A live stream for who may hear it. */
import type { Bounds } from "../http/bounds.ts";
import { presentedBy } from "../http/guard.ts";
import { HttpError } from "../http/problem.ts";
import type { Caller } from "../services/caller.ts";
import type { Services } from "../services/index.ts";
import type { Permission } from "../services/permissions.ts";
import { EVENT_PERMISSIONS, eventStream, isEventType, type StreamPlaces } from "./sse.ts";

export interface StreamContext {
  readonly services: Services;
  readonly bounds: Bounds;
  readonly places: StreamPlaces;
}

export function openStream(
  { services, bounds, places }: StreamContext,
  request: Request,
  caller: Caller,
  query: Readonly<Record<string, unknown>>,
  controller: AbortController,
): Response {
  const { principal } = caller;
  if (principal === undefined) throw new HttpError("sign-in-needed", "sign in first");
  const may = (permission: Permission): boolean => services.permissions.may(principal, permission);
  const asked = typeof query["types"] === "string" ? query["types"].split(",") : undefined;
  const unknown = asked?.find((type) => !isEventType(type));
  if (unknown !== undefined) {
    const message = "names a type of event that there is not";
    throw new HttpError("wrong-fields", `types ${message}`, {
      errors: [{ field: "types", message }],
    });
  }
  const types = new Set(
    Object.entries(EVENT_PERMISSIONS)
      .filter(([type, permission]) => asked?.includes(type) !== false && may(permission))
      .map(([type]) => type),
  );
  const last = request.headers.get("last-event-id");
  const lastId = last !== null && /^\d{1,15}$/.test(last) ? { lastId: Number(last) } : {};
  const giveBack = places.take(principal.personId);
  const subscription = services.events.subscribe(caller, { ...lastId, types });
  const presented = presentedBy(request.headers);
  const stream = eventStream(subscription, {
    beatMs: bounds.beatMs,
    streamMsMax: bounds.streamMsMax,
    isStillAllowed: async () => {
      if (presented === undefined) return false;
      const now = await services.signIns.authenticate(presented, caller);
      return now !== undefined && services.permissions.may(now, "plant.read");
    },
    onEnd: () => {
      giveBack();
      controller.abort();
    },
  });
  return new Response(stream, { headers: { "content-type": "text/event-stream" } });
}

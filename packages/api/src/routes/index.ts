/** Every route there is. */
import type { z } from "zod";
import type { AnyRoute, Method, Params } from "../http/route.ts";
import { grantRoutes, zoneRoutes } from "./grants.ts";
import { approverRoutes, keyRoutes, peopleRoutes } from "./people.ts";
import { changeRoutes, policyRoutes } from "./policy.ts";
import { sessionRoutes, signInRoutes } from "./sign-in.ts";
import { ledgerRoutes, settingRoutes, statusRoutes, systemRoutes } from "./watch.ts";

const routes = [
  ...signInRoutes,
  ...sessionRoutes,
  ...peopleRoutes,
  ...keyRoutes,
  ...policyRoutes,
  ...changeRoutes,
  ...grantRoutes,
  ...zoneRoutes,
  ...approverRoutes,
  ...statusRoutes,
  ...ledgerRoutes,
  ...settingRoutes,
  ...systemRoutes,
] as const;

export const ROUTES: readonly AnyRoute[] = routes;

type Listed = (typeof routes)[number];

type Shape<Schema> = Schema extends z.ZodType ? z.output<Schema> : undefined;

/** What a client sends and gets, by `METHOD /path`. */
export type Api = {
  readonly [Item in Listed as `${Item["method"]} ${Item["path"]}`]: {
    readonly method: Method & Item["method"];
    readonly params: Params<Item["path"]>;
    readonly query: Shape<Item["query"]>;
    readonly body: Shape<Item["body"]>;
    readonly answer: Shape<Item["answer"]>;
  };
};

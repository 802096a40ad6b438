/** Every route there is. */
import type { AnyRoute, Params, Route } from "../http/route.ts";
import { grantRoutes, zoneRoutes } from "./grants.ts";
import { approverRoutes, breakGlassRoutes, keyRoutes, peopleRoutes } from "./people.ts";
import { changeRoutes, policyRoutes } from "./policy.ts";
import { sessionRoutes, signInRoutes } from "./sign-in.ts";
import { ledgerRoutes, settingRoutes, statusRoutes, systemRoutes } from "./watch.ts";

const routes = [
  ...signInRoutes,
  ...sessionRoutes,
  ...peopleRoutes,
  ...breakGlassRoutes,
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

type Entry<Item> =
  Item extends Route<infer M, infer Path, infer Query, infer Body, infer Answer>
    ? {
        readonly method: M;
        readonly params: Params<Path>;
        readonly query: Query;
        readonly body: Body;
        readonly answer: Answer;
      }
    : never;

/** What a client sends and gets, by `METHOD /path`. */
export type Api = {
  readonly [Item in Listed as `${Item["method"]} ${Item["path"]}`]: Entry<Item>;
};

/** Pages by address. What a page filters by stands in the address, so that a link shows what its sender saw. */
import { createRootRoute, createRoute, createRouter, Outlet } from "@tanstack/react-router";
import { type ComponentType, type FunctionComponent, lazy, Suspense } from "react";
import { LinkPage } from "../pages/sign-in/link-page.tsx";
import { PlantPage } from "../pages/plant/plant-page.tsx";
import { searchOf } from "./search.ts";
import { Failed, NotFound } from "./not-found.tsx";
import { orReload } from "./or-reload.ts";
import { Shell } from "./shell.tsx";

const Conduits = lazy(async () => ({
  default: (await orReload(() => import("../pages/conduits/conduits-page.tsx"))).ConduitsPage,
}));
const Evidence = lazy(async () => ({
  default: (await orReload(() => import("../pages/evidence/evidence-page.tsx"))).EvidencePage,
}));
const People = lazy(async () => ({
  default: (await orReload(() => import("../pages/people/people-page.tsx"))).PeoplePage,
}));
const Settings = lazy(async () => ({
  default: (await orReload(() => import("../pages/settings/settings-page.tsx"))).SettingsPage,
}));
const FirstRun = lazy(async () => ({
  default: (await orReload(() => import("../pages/first-run/first-run-page.tsx"))).FirstRunPage,
}));

const root = createRootRoute({
  ...{ component: Outlet, notFoundComponent: NotFound, errorComponent: Failed },
});
const shell = createRoute({ getParentRoute: () => root, id: "shell", component: Shell });

function later(Component: ComponentType) {
  return function Later() {
    return (
      <Suspense fallback={<main className="page" aria-busy="true" />}>
        <Component />
      </Suspense>
    );
  };
}

const page = <Path extends string>(path: Path, Component: FunctionComponent) =>
  createRoute({
    ...{ getParentRoute: () => shell, path, validateSearch: searchOf },
    component: Component,
  });

const tree = root.addChildren([
  createRoute({
    ...{ getParentRoute: () => root, path: "/link" },
    component: () => <LinkPage isFirst />,
  }),
  createRoute({
    ...{ getParentRoute: () => root, path: "/invite" },
    component: () => <LinkPage isFirst={false} />,
  }),
  shell.addChildren([
    page("/", PlantPage),
    page("/conduits", later(Conduits)),
    page("/evidence", later(Evidence)),
    page("/people", later(People)),
    page("/settings", later(Settings)),
    page("/first-run", later(FirstRun)),
  ]),
]);

export const router = createRouter({
  routeTree: tree,
  // Addresses are read by people: plain words, no JSON.
  parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
  stringifySearch: (search) => {
    const given = Object.entries(search as Readonly<Record<string, string | undefined>>);
    const text = new URLSearchParams(
      given.flatMap(([name, value]) =>
        value === undefined || value === "" ? [] : [[name, value]],
      ),
    ).toString();
    return text === "" ? "" : `?${text}`;
  },
});

import { createTheme, MantineProvider } from "@mantine/core";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { queryClient } from "./api/queries.ts";
import { router } from "./app/router.tsx";
import { SurroundingsProvider } from "./app/surroundings.tsx";

const theme = createTheme({ primaryShade: 8, fontFamily: "inherit", cursorType: "pointer" });

const place = document.getElementById("root");
if (place === null) throw new TypeError("the page has no root");
createRoot(place).render(
  <StrictMode>
    {/* Variables and classes come from files: a style element made by a script would need a nonce. */}
    <MantineProvider
      theme={theme}
      defaultColorScheme="auto"
      withCssVariables={false}
      withGlobalClasses={false}
    >
      <SurroundingsProvider>
        <QueryClientProvider client={queryClient}>
          <RouterProvider router={router} />
        </QueryClientProvider>
      </SurroundingsProvider>
    </MantineProvider>
  </StrictMode>,
);

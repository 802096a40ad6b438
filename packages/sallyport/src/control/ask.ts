/** Who `control` asks, as interfaces: in the product sockets, in tests fakes. */
import type { Json } from "@sallyport/core";
import type { EnforcerRequest } from "../messages.ts";
import type { ArchivistRequest } from "../archivist/archivist-messages.ts";
import type { KeyholderRequest } from "../keyholder/keyholder-messages.ts";

/** Answers, or throws the refusal with its code. Each question has a connection of its own. */
export type AskEnforcer = (request: EnforcerRequest) => Promise<Json>;
export type AskArchivist = (request: ArchivistRequest) => Promise<Json>;
export type AskKeyholder = (request: KeyholderRequest) => Promise<Json>;

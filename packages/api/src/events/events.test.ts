/** Live events: what is told to whom, what a slow client costs, how a stream ends. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import https from "node:https";
import tls from "node:tls";
import { test, type TestContext } from "node:test";
import { REPLAY_EVENTS_MAX, STREAM_EVENTS_MAX, STREAMS_PER_PRINCIPAL } from "../http/limits.ts";
import { selfSigned } from "../kit/certificate.test-kit.ts";
import { Plant, problemIn } from "../kit/plant.test-kit.ts";
import { serveTls } from "../serve.ts";
import type { Caller } from "../services/caller.ts";
import type { LiveEvent } from "../shapes/watch.ts";
import { EventHub } from "./hub.ts";

const AT = "2026-01-15T10:00:00.000Z";

function event(type: LiveEvent["type"], about = "x"): Omit<LiveEvent, "id"> {
  return { type, at: AT, about, data: {} };
}

class Stream {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #text = "";

  constructor(response: Response) {
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    assert.ok(response.body);
    this.#reader = response.body.getReader();
  }

  /** All that was told once `isEnough`, or once the stream is over. */
  async until(isEnough: (text: string) => boolean): Promise<string> {
    while (!isEnough(this.#text)) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      this.#text += new TextDecoder().decode(value);
    }
    return this.#text;
  }

  close(): Promise<void> {
    return this.#reader.cancel();
  }
}

async function opened(plant: Plant, token: string, more: Record<string, string> = {}, query = "") {
  return new Stream(await plant.ask(`/v1/events${query}`, { token, headers: more }));
}

test("tells what happens from now on, one event a message", async (t) => {
  const plant = new Plant();
  const stream = await opened(plant, plant.key("ida"));
  t.after(() => stream.close());
  plant.hub.publish({ ...event("grant", "g-1"), data: { note: "two\nlines" } });
  plant.hub.publish(event("change", "c-1"));
  const text = await stream.until((all) => all.includes("c-1"));
  const messages = text.split("\n\n").filter((message) => message.startsWith("id:"));
  assert.equal(messages.length, 2);
  const [id, type, data] = messages[0]?.split("\n") ?? [];
  assert.deepEqual([id, type], ["id: 1000", "event: grant"]);
  const told = JSON.parse(data?.slice("data: ".length) ?? "") as LiveEvent;
  assert.deepEqual([told.id, told.about, told.data["note"]], [1000, "g-1", "two\nlines"]);
});

test("tells nobody what their role may not see, and only the types that were asked for", async (t) => {
  const plant = new Plant();
  const operator = plant.key("ola");
  const all = await opened(plant, plant.key("ida"));
  const some = await opened(plant, operator, {}, "?types=island,denial");
  t.after(() => Promise.all([all.close(), some.close()]));
  const scoped = await plant.ask("/v1/keys", {
    token: plant.key("ida"),
    body: { name: "k", scopes: ["plant.read"], days: 1 },
  });
  const { secret } = (await scoped.json()) as { secret: string };
  const little = await opened(plant, secret);
  t.after(() => little.close());
  const types = ["session", "record", "change", "denial", "island"] as const;
  for (const type of types) plant.hub.publish(event(type));
  const isDone = (text: string): boolean => text.includes("event: island");
  assert.match(await all.until(isDone), /event: session/);
  assert.doesNotMatch(await some.until(isDone), /event: (session|record|change)/);
  assert.doesNotMatch(await little.until(isDone), /event: (session|record|change)/);
  const unknown = await plant.ask("/v1/events?types=island,weather", { token: operator });
  assert.equal((await problemIn(unknown)).errors?.[0]?.field, "types");
});

test("a client that comes back with Last-Event-ID misses nothing, or is told that it did", async () => {
  const plant = new Plant();
  const token = plant.key("ida");
  for (let i = 0; i < 5; i++) plant.hub.publish(event("status", `s-${i}`));
  const back = await opened(plant, token, { "last-event-id": "1002" });
  const text = await back.until((all) => all.includes("s-4"));
  assert.deepEqual(text.match(/id: \d+/g), ["id: 1003", "id: 1004"]);
  await back.close();
  for (let i = 0; i < REPLAY_EVENTS_MAX; i++) plant.hub.publish(event("status"));
  for (const id of ["1002", "7", "99999999"]) {
    const late = await opened(plant, token, { "last-event-id": id });
    assert.match(await late.until((all) => all.includes("gap")), /event: gap\n/, id);
    await late.close();
  }
});

test("one who opens too many streams is refused, and a closed one gives its place back", async () => {
  const plant = new Plant();
  const token = plant.key("ida");
  const streams: Stream[] = [];
  for (let i = 0; i < STREAMS_PER_PRINCIPAL; i++) streams.push(await opened(plant, token));
  for (const one of [token, plant.key("ida")]) {
    const refused = await plant.ask("/v1/events", { token: one });
    assert.equal(refused.status, 429);
    assert.equal((await problemIn(refused)).code, "too-many-streams");
  }
  const other = await opened(plant, plant.key("anna"));
  await streams[0]?.close();
  const again = await opened(plant, token);
  await Promise.all([...streams.slice(1), other, again].map((stream) => stream.close()));
  assert.equal(plant.hub.listeners, 0);
});

test("HEAD opens no stream", async () => {
  const plant = new Plant();
  const response = await plant.ask("/v1/events", { method: "HEAD", token: plant.key("ida") });
  assert.equal(response.status, 405);
  assert.equal(plant.hub.listeners, 0);
});

test("a stream ends with its session, even while events never rest", async () => {
  const plant = new Plant({ beatMs: 20 });
  const token = plant.key("anna");
  const stream = await opened(plant, token);
  const busy = setInterval(() => plant.hub.publish(event("status")), 1);
  await stream.until((text) => text.includes("event: status"));
  await plant.people.people.disable(callerOf(), "anna", "left");
  await stream.until(() => false);
  clearInterval(busy);
  assert.equal(plant.hub.listeners, 0);
});

test("a quiet stream has beats, and ends after its time so that the client comes back", async () => {
  const plant = new Plant({ beatMs: 10, streamMsMax: 50 });
  const stream = await opened(plant, plant.key("anna"));
  assert.match(await stream.until(() => false), /(: beat\n\n){2,}/);
});

function callerOf(signal: AbortSignal = new AbortController().signal): Caller {
  const origin = { requestId: "r", peer: "p", transport: "tls", userAgent: "" } as const;
  return { ...origin, principal: undefined, signal };
}

test("who reads too slowly is let go, and the others miss nothing", async () => {
  const hub = new EventHub(1);
  hub.subscribe(callerOf(), {});
  const quick = hub.subscribe(callerOf(), {});
  const iterator = quick.events[Symbol.asyncIterator]();
  for (let i = 1; i <= STREAM_EVENTS_MAX + 1; i++) {
    hub.publish(event("denial"));
    const { value } = (await iterator.next()) as { value: LiveEvent };
    assert.equal(value.id, i);
  }
  assert.equal(hub.listeners, 1);
  assert.equal(hub.tooSlow, 1);
});

test("a subscription ends with its caller", async () => {
  const hub = new EventHub(1);
  const controller = new AbortController();
  const { events } = hub.subscribe(callerOf(controller.signal), {});
  const ended = events[Symbol.asyncIterator]().next();
  controller.abort();
  assert.equal((await ended).done, true);
  assert.equal(hub.listeners, 0);
});

async function overTls(t: TestContext, plant: Plant): Promise<number> {
  const listening = await serveTls(
    plant.api,
    { certificate: selfSigned("events"), host: "127.0.0.1", port: 0 },
    { silentMsMax: 1_000 },
  );
  t.after(() => listening.close(0));
  return listening.port;
}

test("over TLS: a client that goes away leaves nothing behind", async (t) => {
  const plant = new Plant({}, ["localhost"]);
  const port = await overTls(t, plant);
  const headers = { host: "localhost", authorization: `Bearer ${plant.key("ida")}` };
  const asked = https.get({
    host: "127.0.0.1",
    port,
    path: "/v1/events",
    rejectUnauthorized: false,
    headers,
  });
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  response.resume();
  assert.equal(plant.hub.listeners, 1);
  asked.on("error", () => undefined);
  asked.destroy();
  await until(() => plant.hub.listeners === 0);
});

test("over TLS: a client that stops reading costs a bounded queue, then its connection", async (t) => {
  const plant = new Plant({}, ["localhost"]);
  const port = await overTls(t, plant);
  const socket = tls.connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  socket.on("error", () => undefined);
  socket.pause();
  socket.write(
    `GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${plant.key("ida")}\r\n\r\n`,
  );
  await until(() => plant.hub.listeners === 1);
  const data = { padding: "x".repeat(8_000) };
  for (let i = 0; plant.hub.listeners > 0; i++) {
    assert.ok(i < 20_000, "the slow client was never let go");
    plant.hub.publish({ ...event("denial"), data });
    if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(plant.hub.tooSlow, 1);
  const gauge = /sallyport_http_streams_now (\d+)/;
  await until(() => gauge.exec(plant.api.metrics.text())?.[1] === "0");
  socket.destroy();
});

/** Bounded: ten seconds, looked at every 10 ms. */
async function until(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !isSo(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(isSo());
}

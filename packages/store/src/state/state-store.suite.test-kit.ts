/** What a state store promises, whatever database it is in. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Passkey, Records, SignIn, Stored } from "@sallyport/identity";
import { openStateStore, openStateStoreWith } from "./open-state-store.ts";
import { stateSchema } from "./state-schema.ts";
import { identityStore, type StatePlace, type StateStore } from "./state-store.ts";
import { BODY_MAX_BYTES, ID_MAX_BYTES } from "./stored-form.ts";

interface Draft extends Stored {
  readonly text: string;
}

export interface TestedPlace {
  readonly place: StatePlace;
  readonly run: (text: string) => Promise<readonly unknown[]>;
}

type WithPlace = (use: (tested: TestedPlace) => Promise<void>) => Promise<void>;

const NOON = Date.UTC(2026, 10, 18, 12, 0);
const SIGN_IN: SignIn = {
  id: "5f2c",
  revision: 1,
  person: "anna",
  factors: ["passkey"],
  source: "10.10.0.20",
  createdAtMs: NOON,
  seenAtMs: NOON,
  provedAtMs: NOON,
  expiresAtMs: NOON + 3_600_000,
};

function draft(id: string, text = "", revision = 1): Draft {
  return { id, revision, text };
}

export function holdsAsStateStore(withPlace: WithPlace): void {
  async function withStores(
    count: number,
    use: (stores: readonly StateStore[], tested: TestedPlace) => Promise<void>,
  ): Promise<void> {
    await withPlace(async (tested) => {
      const stores: StateStore[] = [];
      try {
        for (let n = 0; n < count; n++) stores.push(await openStateStore(tested.place));
        await use(stores, tested);
      } finally {
        for (const store of stores) await store.close();
      }
    });
  }
  /** The same kind of records over so many connections. */
  async function withDrafts(
    count: number,
    use: (drafts: readonly Records<Draft>[]) => Promise<void>,
  ): Promise<void> {
    await withStores(count, (stores) => use(stores.map((store) => store.records("draft"))));
  }
  holdWhatTheyAreGiven(withPlace, withStores);
  areAtomic(withDrafts);
  takeHostileInput(withDrafts);
}

function holdWhatTheyAreGiven(
  withPlace: WithPlace,
  withStores: (
    count: number,
    use: (stores: readonly StateStore[], tested: TestedPlace) => Promise<void>,
  ) => Promise<void>,
): void {
  test("what was kept is there after reopening, field by field, and kinds are kept apart", async () => {
    await withPlace(async ({ place }) => {
      const state = await openStateStore(place);
      const { signIns, people, used } = identityStore(state);
      assert.equal(await signIns.add(SIGN_IN), true);
      assert.equal(await used.add({ id: SIGN_IN.id, revision: 1, expiresAtMs: NOON }), true);
      const seen = { ...SIGN_IN, revision: 2, seenAtMs: NOON + 1 };
      assert.equal(await signIns.replace(SIGN_IN, seen), true);
      await state.close();
      const again = await openStateStore(place);
      const store = identityStore(again);
      assert.deepEqual(await store.signIns.get(SIGN_IN.id), seen);
      assert.deepEqual(await store.used.all(), [
        { id: SIGN_IN.id, revision: 1, expiresAtMs: NOON },
      ]);
      await assert.rejects(people.get(SIGN_IN.id), { code: "store-unavailable" }, "closed");
      assert.equal(await store.people.get(SIGN_IN.id), undefined);
      assert.equal(await store.signIns.get("5F2C"), undefined, "ids are compared exactly");
      await again.close();
    });
  });

  test("the eleven kinds of identity are eleven places", async () => {
    await withStores(1, async ([state]) => {
      assert.ok(state !== undefined);
      const kinds = Object.values(identityStore(state)) as Records<Stored>[];
      assert.equal(kinds.length, 11);
      for (const [n, kind] of kinds.entries()) {
        assert.equal(await kind.add({ id: "same", revision: n }), true, `kind ${n}`);
      }
      for (const [n, kind] of kinds.entries()) {
        assert.equal((await kind.get("same"))?.revision, n);
      }
    });
  });

  test("what belongs to a person is found, and only that, also after it went to another", async () => {
    await withStores(1, async ([state]) => {
      assert.ok(state !== undefined);
      const { signIns } = identityStore(state);
      for (const [id, person] of [
        ["b", "anna"],
        ["a", "anna"],
        ["c", "ben"],
      ] as const) {
        await signIns.add({ ...SIGN_IN, id, person });
      }
      const ids = async (person: string): Promise<string[]> =>
        (await signIns.ofPerson(person)).map(({ id }) => id);
      assert.deepEqual(await ids("anna"), ["a", "b"]);
      const [first] = await signIns.ofPerson("anna");
      assert.ok(first !== undefined);
      await signIns.replace(first, { ...first, revision: 2, person: "ben" });
      assert.deepEqual(await ids("anna"), ["b"]);
      assert.deepEqual(await ids("ben"), ["a", "c"]);
      assert.deepEqual(await ids("Anna"), []);
      assert.deepEqual(await ids("an%"), []);
    });
  });

  test("what has ended goes at its very millisecond, and what has no end stays", async () => {
    await withStores(1, async ([state]) => {
      assert.ok(state !== undefined);
      const { links, people, used } = identityStore(state);
      for (const [id, expiresAtMs] of [
        ["a", NOON - 1],
        ["b", NOON],
        ["c", NOON + 1],
      ] as const) {
        await links.add({ id, revision: 1, kind: "invitation", expiresAtMs });
      }
      await used.add({ id: "a", revision: 1, expiresAtMs: NOON - 1 });
      const anna = { displayName: "Anna", roles: [], origin: "local", createdAtMs: NOON } as const;
      await people.add({ id: "anna", revision: 1, state: "active", ...anna });
      assert.equal(await links.removeExpired(NOON), 2);
      assert.equal(await links.removeExpired(NOON), 0);
      assert.equal(await people.removeExpired(Number.MAX_SAFE_INTEGER), 0);
      assert.deepEqual(
        (await links.all()).map(({ id }) => id),
        ["c"],
      );
      assert.equal((await used.all()).length, 1, "another kind");
      const [left] = await links.all();
      assert.ok(left !== undefined);
      await links.replace(left, { ...left, revision: 2, expiresAtMs: NOON });
      assert.equal(await links.removeExpired(NOON), 1, "the end follows the record");
    });
  });

  test("a state store of a later release is refused and left as it is", async () => {
    await withPlace(async ({ place, run }) => {
      const state = await openStateStore(place);
      await state.records<Draft>("draft").add(draft("a"));
      await state.close();
      await run("insert into state_migration values ('0099-later', '2027')");
      await assert.rejects(openStateStore(place), { code: "store-too-new" });
      await run("delete from state_migration where name = '0099-later'");
      const again = await openStateStore(place);
      assert.deepEqual(await again.records<Draft>("draft").get("a"), draft("a"));
      await again.close();
    });
  });

  test("a migration of a later release keeps every record; one that fails changes nothing", async () => {
    await withPlace(async ({ place, run }) => {
      const state = await openStateStore(place);
      await state.records<Draft>("draft").add(draft("a", "kept"));
      await state.close();
      let fails = true;
      const opened = (): Promise<StateStore> =>
        openStateStoreWith(place, (engine) => {
          const schema = stateSchema(engine);
          const up: (typeof schema.migrations)[string]["up"] = async (db) => {
            await db.schema.alterTable("record").addColumn("site", "text").execute();
            if (fails) throw new Error("no room");
          };
          return { ...schema, migrations: { ...schema.migrations, "0002-site": { up } } };
        });
      await assert.rejects(opened(), { code: "store-unavailable" });
      await assert.rejects(run("select site from record"), "the failed one left nothing");
      fails = false;
      const later = await opened();
      assert.equal((await later.records<Draft>("draft").get("a"))?.text, "kept");
      await later.close();
      assert.equal((await run("select site from record")).length, 1);
      await assert.rejects(openStateStore(place), { code: "store-too-new" }, "no way back");
    });
  });

  test("a record that was spoiled in the database is told, not handed out", async () => {
    await withStores(1, async ([state], { run }) => {
      assert.ok(state !== undefined);
      const drafts = state.records<Draft>("draft");
      for (const body of ["{", "null", '{"id":"other"}', "[]"]) {
        await drafts.add(draft("a"));
        await run(`update record set body = '${body}' where id = 'a'`);
        await assert.rejects(drafts.get("a"), { code: "store-damaged" }, body);
        await assert.rejects(drafts.all(), { code: "store-damaged" }, body);
        await run("delete from record");
      }
    });
  });
}

type WithDrafts = (
  count: number,
  use: (drafts: readonly Records<Draft>[]) => Promise<void>,
) => Promise<void>;

function areAtomic(withDrafts: WithDrafts): void {
  test("of many who add the same id over two connections one is told that it is theirs", async () => {
    await withDrafts(2, async ([a, b]) => {
      assert.ok(a !== undefined && b !== undefined);
      for (let round = 0; round < 10; round++) {
        const id = `draft-${round}`;
        const writers = Array.from({ length: 8 }, (_, n) => `writer ${n}`);
        const added: boolean[] = await Promise.all(
          writers.map((text, n) => (n % 2 === 0 ? a : b).add(draft(id, text))),
        );
        assert.equal(added.filter(Boolean).length, 1);
        assert.equal((await b.get(id))?.text, writers[added.indexOf(true)]);
      }
    });
  });

  test("of many who replace the same revision one succeeds, so no change is lost", async () => {
    await withDrafts(2, async ([a, b]) => {
      assert.ok(a !== undefined && b !== undefined);
      await a.add(draft("counter", "0"));
      const raise = async (records: Records<Draft>): Promise<void> => {
        for (let attempt = 0; attempt < 1000; attempt++) {
          const before = await records.get("counter");
          assert.ok(before !== undefined);
          const { revision, text } = before;
          const after = draft("counter", String(Number(text) + 1), revision + 1);
          if (await records.replace(before, after)) return;
        }
        assert.fail("never got its turn");
      };
      await Promise.all(Array.from({ length: 40 }, (_, n) => raise(n % 2 === 0 ? a : b)));
      assert.deepEqual(await a.get("counter"), draft("counter", "40", 41));
    });
  });

  test("of many who take the same record one gets it", async () => {
    await withDrafts(2, async ([a, b]) => {
      assert.ok(a !== undefined && b !== undefined);
      for (let round = 0; round < 10; round++) {
        await a.add(draft("once", `round ${round}`));
        const taken: (Draft | undefined)[] = await Promise.all(
          Array.from({ length: 8 }, (_, n) => (n % 2 === 0 ? a : b).take("once")),
        );
        assert.deepEqual(
          taken.filter((one) => one !== undefined),
          [draft("once", `round ${round}`)],
        );
      }
    });
  });

  test("taking and replacing the same record: exactly one of the two happens", async () => {
    await withDrafts(2, async ([a, b]) => {
      assert.ok(a !== undefined && b !== undefined);
      for (let round = 0; round < 20; round++) {
        await a.add(draft("one", "old"));
        const [isReplaced, taken]: [boolean, Draft | undefined] = await Promise.all([
          a.replace(draft("one", "old"), draft("one", "new", 2)),
          b.take("one"),
        ]);
        // Either it was replaced first and then taken as it is now, or taken and never replaced.
        assert.equal(taken?.text, isReplaced ? "new" : "old");
        assert.equal(await a.get("one"), undefined);
      }
    });
  });

  test("a record is not replaced by one of another id, of an older revision, or when there is none", async () => {
    await withDrafts(1, async ([drafts]) => {
      assert.ok(drafts !== undefined);
      await drafts.add(draft("a", "", 3));
      assert.equal(await drafts.replace(draft("a", "", 3), draft("b", "", 4)), false);
      assert.equal(await drafts.replace(draft("a", "", 2), draft("a", "x", 3)), false);
      assert.equal(await drafts.replace(draft("b"), draft("b", "", 2)), false);
      assert.equal(await drafts.add(draft("a", "other")), false);
      assert.deepEqual(await drafts.all(), [draft("a", "", 3)]);
    });
  });
}

function takeHostileInput(withDrafts: WithDrafts): void {
  test("ids and texts that are SQL, JSON or other scripts are only texts", async () => {
    await withDrafts(1, async ([drafts]) => {
      assert.ok(drafts !== undefined);
      await drafts.add(draft("victim", "untouched"));
      const hostile = [
        "'; drop table record; --",
        "' or '1'='1",
        '" or ""="',
        "$1",
        "?1",
        "\\'; delete from record; --",
        "%",
        "_",
        "",
        " ",
        "../../etc/passwd",
        "\u202egnp.exe",
        "é",
        "e\u0301",
        "💡".repeat(ID_MAX_BYTES / 4),
        "\n\r\t\u001b[31m",
        "__proto__",
      ];
      for (const id of hostile) {
        assert.equal(await drafts.add(draft(id, `${id}\0\ud800`)), true, id);
        assert.equal((await drafts.get(id))?.text, `${id}\0\ud800`);
        assert.deepEqual(await drafts.ofPerson(id), []);
      }
      assert.equal((await drafts.all()).length, hostile.length + 1);
      for (const id of hostile) assert.equal((await drafts.take(id))?.id, id);
      assert.deepEqual(await drafts.all(), [draft("victim", "untouched")]);
    });
  });

  test("what a database could not keep as it is, is refused before it is asked", async () => {
    await withDrafts(1, async ([drafts]) => {
      assert.ok(drafts !== undefined);
      const refused = { code: "record-not-storable" };
      for (const id of ["a\0b", "\ud800", "x".repeat(ID_MAX_BYTES + 1), "é".repeat(ID_MAX_BYTES)]) {
        await assert.rejects(drafts.add(draft(id)), refused);
        assert.equal(await drafts.get(id), undefined);
        assert.equal(await drafts.take(id), undefined);
        assert.deepEqual(await drafts.ofPerson(id), []);
        await assert.rejects(drafts.add({ ...draft("a"), person: id }), refused);
        await assert.rejects(drafts.replace(draft(id), draft(id, "", 2)), refused);
      }
      for (const value of [Number.NaN, Infinity, 0.5, 2 ** 53]) {
        await assert.rejects(drafts.add({ ...draft("a"), expiresAtMs: value }), refused);
        await assert.rejects(drafts.add(draft("a", "", value)), refused);
      }
      const nested = { ...draft("a"), inner: { count: Number.NaN } };
      await assert.rejects(drafts.add(nested), refused);
      assert.deepEqual(await drafts.all(), []);
    });
  });

  test("a record of 1 MiB is kept and one byte more is refused", async () => {
    await withDrafts(1, async ([drafts]) => {
      assert.ok(drafts !== undefined);
      const frame = JSON.stringify(draft("big")).length;
      const big = draft("big", "x".repeat(BODY_MAX_BYTES - frame));
      assert.equal(await drafts.add(big), true);
      assert.deepEqual(await drafts.get("big"), big);
      const bigger = { ...big, revision: 2, text: `${big.text}x` };
      await assert.rejects(drafts.replace(big, bigger), { code: "record-not-storable" });
      const wide = draft("wide", "é".repeat(BODY_MAX_BYTES / 2));
      await assert.rejects(
        drafts.add(wide),
        { code: "record-not-storable" },
        "bytes, not characters",
      );
      assert.equal((await drafts.get("big"))?.revision, 1);
    });
  });

  test("the longest id that a passkey can have is kept", async () => {
    await withDrafts(1, async ([drafts]) => {
      const id = Buffer.alloc(1023, 0xfe).toString("base64url");
      // A passkey's record is one as a draft is; its text stands for the rest of it.
      const passkey: Pick<Passkey, "id"> & Draft = draft(id, "cose");
      assert.equal(await drafts?.add(passkey), true);
      assert.deepEqual(await drafts?.get(id), passkey);
    });
  });
}

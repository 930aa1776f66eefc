import assert from "node:assert/strict";
import { test } from "node:test";
import { AwayError, Outbox, type Deed, type Keeper } from "../src/outbox.ts";

function drawer(): Keeper & { kept: Map<string, string> } {
  const kept = new Map<string, string>();
  return {
    kept,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  };
}

/** Let everything that is due run. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("deeds go one after another and are forgotten once they are safe", async () => {
  const keeper = drawer();
  const sent: string[] = [];
  const states: string[] = [];
  const box = new Outbox<Deed>(keeper, "a", async (deed) => { await turn(); sent.push(deed.key); }, (state) => states.push(state), () => assert.fail());
  box.push({ key: "1" });
  box.push({ key: "2" });
  assert.equal(JSON.parse(keeper.kept.get("a") ?? "[]").length, 2);
  assert.equal(await box.settled(), true);
  assert.deepEqual(sent, ["1", "2"]);
  assert.equal(keeper.kept.has("a"), false);
  assert.equal(states.at(-1), "saved");
});

test("a server that is away loses nothing: the deed stays, also for the next page, and is sent when it is back", async () => {
  const keeper = drawer();
  const states: string[] = [];
  const away = new Outbox<Deed>(keeper, "a", () => Promise.reject(new AwayError()), (state) => states.push(state), () => assert.fail());
  away.push({ key: "1" });
  assert.equal(await away.settled(), false);
  assert.equal(states.at(-1), "away");
  away.close();
  const sent: string[] = [];
  const back = new Outbox<Deed>(keeper, "a", async (deed) => void sent.push(deed.key), () => undefined, () => assert.fail());
  back.start();
  assert.equal(await back.settled(), true);
  assert.deepEqual(sent, ["1"]);
});

test("what the server refuses is told and dropped, and the next goes on", async () => {
  const refused: string[] = [];
  const sent: string[] = [];
  const send = async (deed: Deed): Promise<void> => {
    if (deed.key === "bad") throw new Error("refused");
    sent.push(deed.key);
  };
  const box = new Outbox<Deed>(drawer(), "a", send, () => undefined, (deed) => refused.push(deed.key));
  box.push({ key: "bad" });
  box.push({ key: "good" });
  assert.equal(await box.settled(), true);
  assert.deepEqual([refused, sent], [["bad"], ["good"]]);
});

test("whoever waits for all to be safe is told once it is, or that the server is away", async () => {
  let let_go = (): void => undefined;
  const gate = new Promise<void>((resolve) => { let_go = resolve; });
  const box = new Outbox<Deed>(drawer(), "a", () => gate, () => undefined, () => assert.fail());
  assert.equal(await box.settled(), true);
  box.push({ key: "1" });
  const waiting = box.settled();
  let_go();
  assert.equal(await waiting, true);
  assert.equal(box.waiting.length, 0);
  const away = new Outbox<Deed>(drawer(), "b", () => Promise.reject(new AwayError()), () => undefined, () => assert.fail());
  away.push({ key: "1" });
  assert.equal(await away.settled(), false);
  assert.equal(await away.settled(), false);
  away.close();
});

test("what is held back is kept and not called saved", async () => {
  const [states, sent]: [string[], string[]] = [[], []];
  const box = new Outbox<Deed>(drawer(), "a", async (deed) => void sent.push(deed.key), (state) => states.push(state), () => assert.fail());
  box.hold(true);
  box.push({ key: "1" });
  await turn();
  assert.deepEqual(sent, []);
  assert.ok(!states.includes("saved"));
  box.hold(false);
  assert.equal(await box.settled(), true);
  assert.deepEqual(sent, ["1"]);
});

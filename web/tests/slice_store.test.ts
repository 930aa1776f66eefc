import assert from "node:assert/strict";
import { test } from "node:test";
import { around, SliceStore } from "../src/slice_store.ts";

/** Let everything that is due run. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("neighbours come nearest first, those ahead before those behind", () => {
  assert.deepEqual(around(5, 8, 1, 3, 1), [5, 6, 4, 7]);
  assert.deepEqual(around(1, 8, -1, 2, 1), [1, 0, 2]);
});

test("what is wanted is loaded, a few at a time, and kept", async () => {
  let most = 0;
  let now = 0;
  const source = {
    bytesOf: () => 1,
    load: async (_: number, index: number) => {
      most = Math.max(most, ++now);
      await turn();
      now--;
      return index * 10;
    },
  };
  const arrived: number[] = [];
  const store = new SliceStore<number>(source, (_, index) => arrived.push(index), () => assert.fail(), 100, 2);
  store.want([[0, 3], [0, 4], [0, 5]]);
  for (let turns = 0; store.get(0, 5) === null && turns < 1000; turns++) await turn();
  assert.equal(store.get(0, 5), 50);
  assert.deepEqual(arrived.sort(), [3, 4, 5]);
  assert.equal(most, 2);
});

test("the slices longest unseen go when there is no room, and a value that is set is there at once", () => {
  const store = new SliceStore<number>({ bytesOf: () => 10, load: () => new Promise(() => undefined) }, () => undefined, () => undefined, 30);
  for (const index of [0, 1, 2]) store.set(0, index, index);
  store.get(0, 0);
  store.set(0, 3, 3);
  assert.equal(store.get(0, 3), 3);
  assert.equal(store.get(0, 0), 0);
  assert.equal(store.get(0, 1), null);
});

test("a load that is not wanted any more is stopped", async () => {
  const stopped: number[] = [];
  const load = (_: number, index: number, signal: AbortSignal): Promise<number> =>
    new Promise((_resolve, reject) => signal.addEventListener("abort", () => { stopped.push(index); reject(new Error("stopped")); }));
  const store = new SliceStore<number>({ bytesOf: () => 1, load }, () => undefined, () => assert.fail());
  store.want([[0, 7]]);
  store.want([[0, 8]]);
  await turn();
  assert.deepEqual(stopped, [7]);
});

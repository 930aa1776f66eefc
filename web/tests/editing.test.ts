import assert from "node:assert/strict";
import { test } from "node:test";

import { around } from "../src/editing.ts";
import { lighter, paintDifference } from "../src/other_mask.ts";
import { versionsOf } from "../src/steps_api.ts";

test("a slice lies between the corrected ones below and above it, which must leave one between them", () => {
  assert.deepEqual(around([2, 6, 9], 4), [2, 6]);
  assert.deepEqual(around([2, 6, 9], 6), [6, 9]);
  assert.deepEqual(around([2, 6, 9], 9), [6, 9]);
  assert.deepEqual(around([2, 6, 9], 30), [6, 9]);
  for (const [slices, at] of [[[2, 3], 2], [[4], 4], [[], 1], [[5, 9], 1]] as const) assert.equal(around(slices, at), null);
});

test("the versions are where the others stand now, and one's own last state that is not the present one", () => {
  const move = (annotator: string, revision: number | null, kind: "save" | "undo" | "redo" = "save") => ({ annotator, kind, revision, at: revision ?? 0 });
  const moves = [move("ana", 1), move("cyd", 2), move("bob", 3), move("ana", 4), move("bob", 5), move("ana", 6), move("cyd", null, "undo")];
  assert.deepEqual(versionsOf(moves, "ana", 6).map(({ annotator, revision, mine }) => [annotator, revision, mine]), [["bob", 5, false], ["ana", 4, true]]);
  assert.deepEqual(versionsOf(moves, "dan", null).map(({ annotator, revision }) => [annotator, revision]), [["ana", 6], ["bob", 5]]);
  assert.deepEqual(versionsOf([], "ana", null), []);
});

test("what is only here, only there and in both has its own colour; other labels have none", () => {
  const slice = (labels: number[]) => ({ rows: 1, columns: 4, labels: Uint16Array.from(labels) });
  const colors = paintDifference(slice([1, 1, 0, 2]), slice([1, 0, 1, 2]), 1);
  const pixels = [0, 1, 2, 3].map((at) => [...colors.slice(4 * at, 4 * at + 4)].join());
  assert.equal(new Set(pixels).size, 4);
  assert.deepEqual(pixels[3], "0,0,0,0");
});

test("another version has the colour of the object, half way to white", () => {
  assert.equal(lighter("#e6194b"), "#f38ca5");
  assert.equal(lighter("#000000"), "#808080");
});

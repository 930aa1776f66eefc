import assert from "node:assert/strict";
import { test } from "node:test";

import { inRange, pointsAlong, rangeUnder } from "../src/thresholds.ts";

const grey = (rows: number, columns: number, values: number[]) => ({ kind: "grey" as const, rows, columns, values: Int16Array.from(values) });

test("the range under the brush is the mean and two spreads either way of what it covers", () => {
  const slice = grey(1, 5, [999, 90, 100, 110, -999]);
  const range = rangeUnder(slice, [2, 0], [1, 1]);
  assert.deepEqual(range, { low: 84, high: 116 }); // spread of 90, 100, 110 is 8.165
});

test("an even ground gives a range around its value, and nothing beside the slice or on a colour picture", () => {
  assert.deepEqual(rangeUnder(grey(1, 3, [50, 50, 50]), [1, 0], [1, 1]), { low: 49, high: 51 });
  assert.equal(rangeUnder(grey(1, 3, [50, 50, 50]), [9, 9], [1, 1]), null);
  assert.equal(rangeUnder({ kind: "color", rows: 1, columns: 1, values: Uint8Array.from([1, 2, 3]) }, [0, 0], [1, 1]), null);
});

test("a pixel is in the range where its value is", () => {
  const allowed = inRange(grey(1, 3, [-5, 0, 5]), { low: -5, high: 0 });
  assert.deepEqual([0, 1, 2].map((at) => allowed?.(at)), [true, true, false]);
  assert.equal(inRange(null, { low: 0, high: 1 }), null);
});

test("points lie evenly along a scribble, its ends among them, and a dot is one point", () => {
  assert.deepEqual(pointsAlong([[0, 0], [4, 0], [4, 4]], 5), [[0, 0], [2, 0], [4, 0], [4, 2], [4, 4]]);
  assert.deepEqual(pointsAlong([[3, 3]]), [[3, 3]]);
  assert.deepEqual(pointsAlong([[0, 0], [1, 0]]), [[0.5, 0]]);
  assert.equal(pointsAlong([[0, 0], [500, 0]]).length, 12);
  assert.deepEqual(pointsAlong([]), []);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { lookOf, nextAfter, ranked, type SliceScore } from "../src/review.ts";

const scores: SliceScore[] = [
  { label: 1, axis: 0, index: 4, score: 0.9 },
  { label: 1, axis: 0, index: 9, score: 0.4 },
  { label: 2, axis: 0, index: 5, score: 0.1 },
  { label: 1, axis: 2, index: 3, score: 0.7 },
];

test("the slices of one object come the least sure first", () => {
  assert.deepEqual(ranked(scores, 1).map((one) => one.index), [9, 3, 4]);
  assert.deepEqual(ranked([], 1), []);
});

test("the next one comes after the one that was looked at, and the first again after the last or after going elsewhere", () => {
  const order = ranked(scores, 1);
  assert.equal(nextAfter(order, [0, 0, 0], null)?.index, 9);
  assert.equal(nextAfter(order, [9, 0, 0], order[0] ?? null)?.index, 3);
  assert.equal(nextAfter(order, [4, 0, 3], order[2] ?? null)?.index, 9);
  assert.equal(nextAfter(order, [7, 0, 0], order[0] ?? null)?.index, 9);
  assert.equal(nextAfter([], [0, 0, 0], null), null);
});

test("scores are told in three words", () => {
  assert.deepEqual([0.95, 0.8, 0.7, 0.2].map(lookOf), ["sure", "sure", "fair", "doubtful"]);
});

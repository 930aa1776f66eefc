import assert from "node:assert/strict";
import { test } from "node:test";
import { labelsIn, outline, stampDisc, stampLine, type LabelSlice } from "../src/contours.ts";

function empty(rows: number, columns: number): LabelSlice {
  return { rows, columns, labels: new Uint16Array(rows * columns) };
}

test("a pixel is outlined by the four edges around its centre", () => {
  const slice = empty(3, 3);
  slice.labels[4] = 2;
  assert.deepEqual(outline(slice, 2), [0.5, 0.5, 1.5, 0.5, 0.5, 1.5, 1.5, 1.5, 0.5, 0.5, 0.5, 1.5, 1.5, 0.5, 1.5, 1.5]);
  assert.deepEqual(outline(slice, 1), []);
});

test("a mask that fills the slice is outlined along its border, each side in one segment", () => {
  const slice = empty(2, 3);
  slice.labels.fill(1);
  assert.equal(outline(slice, 1).length, 4 * 4);
});

test("labels of a slice are found once each, ascending", () => {
  const slice = empty(1, 5);
  slice.labels.set([3, 0, 1, 1, 3]);
  assert.deepEqual(labelsIn(slice), [1, 3]);
});

test("a disc of radius one and a half covers nine pixels less none, and the eraser takes its own label only", () => {
  const slice = empty(7, 7);
  assert.ok(stampDisc(slice, 1, [3, 3], [1.5, 1.5], { erase: false }));
  assert.equal(slice.labels.filter((label) => label === 1).length, 9);
  slice.labels[3 * 7 + 3] = 2;
  stampDisc(slice, 1, [3, 3], [1.5, 1.5], { erase: true });
  assert.deepEqual([...slice.labels].filter(Boolean), [2]);
});

test("a locked label is not painted over", () => {
  const slice = empty(1, 3);
  slice.labels[1] = 2;
  stampLine(slice, 1, [0, 0], [2, 0], [0.6, 0.6], { erase: false, kept: new Set([2]) });
  assert.deepEqual([...slice.labels], [1, 2, 1]);
});

test("only pixels that may change are painted", () => {
  const slice = empty(1, 4);
  stampLine(slice, 3, [0, 0], [3, 0], [0.6, 0.6], { erase: false, allowed: (at) => at % 2 === 1 });
  assert.deepEqual([...slice.labels], [0, 3, 0, 3]);
});

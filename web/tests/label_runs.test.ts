import assert from "node:assert/strict";
import { test } from "node:test";
import { redoable } from "../src/history.ts";
import { runsWhere, withEdit, withMask } from "../src/label_runs.ts";

test("runs hold start and length of what holds", () => {
  const marks = [1, 1, 0, 0, 1];
  assert.deepEqual(runsWhere(5, (at) => marks[at] === 1), [0, 2, 4, 1]);
  assert.deepEqual(runsWhere(3, () => false), []);
});

test("a stroke goes on top of a mask that came meanwhile: the eraser takes its own label, the brush any", () => {
  const labels = Uint16Array.from([2, 1, 1, 0, 2]);
  assert.deepEqual([...withEdit(labels, { label: 1, painted: [3, 2], erased: [0, 2] })], [2, 0, 1, 1, 1]);
});

test("an answer takes the object's place and leaves the others, but where it covers them", () => {
  const labels = Uint16Array.from([1, 1, 2, 2, 0, 1]);
  assert.deepEqual([...withMask(labels, [1, 2, 5, 1], 1)], [0, 1, 1, 2, 0, 1]);
});

test("redo reaches what was undone since the last save", () => {
  const move = (kind: "save" | "undo" | "redo") => ({ kind, revision: 1 });
  assert.equal(redoable([]), false);
  assert.equal(redoable([move("save"), move("undo")]), true);
  assert.equal(redoable([move("save"), move("undo"), move("redo")]), false);
  assert.equal(redoable([move("save"), move("save"), move("undo"), move("undo"), move("redo")]), true);
  assert.equal(redoable([move("save"), move("undo"), move("save")]), false);
});

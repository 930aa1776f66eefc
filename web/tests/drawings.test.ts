import assert from "node:assert/strict";
import { test } from "node:test";

import { Drawings, NO_PROMPTS } from "../src/drawings.ts";

const spot = { label: 1, axis: 0, index: 4 };

test("a prompt takes the place of the one before on its slice, and a click alone marks nothing for the whole object", () => {
  const drawings = new Drawings();
  drawings.set(spot, { ...NO_PROMPTS, box: [1, 2, 3, 4] });
  drawings.set({ ...spot, index: 6 }, { ...NO_PROMPTS, points: [[2, 2]], inside: [true] });
  drawings.set(spot, { ...NO_PROMPTS, box: [5, 6, 7, 8] });
  assert.deepEqual(drawings.marked(1).map((one) => one.box), [[5, 6, 7, 8]]);
  assert.deepEqual(drawings.of(1).map((one) => one.index).sort(), [4, 6]);
  drawings.forget(spot);
  assert.equal(drawings.prompts(spot), null);
});

test("axes are shown instead of the box that is theirs, and only axes of objects that are not chosen", () => {
  const drawings = new Drawings();
  drawings.replace([{ ...spot, box: [0, 0, 4, 4], points: [[1, 1]], inside: [false], axes: [[0, 2], [4, 2]] }]);
  const kinds = (active: number): string[] => drawings.on({ axis: 0, index: 4 }, active, () => "#ffffff").map((one) => one.kind);
  assert.deepEqual(kinds(1), ["outside", "axes"]);
  assert.deepEqual(kinds(2), ["axes"]);
  assert.deepEqual(drawings.on({ axis: 0, index: 5 }, 1, () => "#ffffff"), []);
});

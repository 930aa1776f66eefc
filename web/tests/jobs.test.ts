import assert from "node:assert/strict";
import { test } from "node:test";

import { boundsOf, carriedInWords } from "../src/jobs.ts";

test("neighbours are reached up to the ends of the scan and the slices that stay", () => {
  assert.deepEqual(boundsOf(5, 3, [], 20), [2, 8]);
  assert.deepEqual(boundsOf(5, 9, [3, 7, 12], 20), [4, 6]);
  assert.deepEqual(boundsOf(1, 9, [], 6), [0, 5]);
});

test("where an object ends before the reach does, the page says so", () => {
  assert.equal(carriedInWords(5, [2, 8], [2, 8]), "Carried to slices 3 to 9");
  assert.match(carriedInWords(5, [4, 8], [2, 8]), /slices 5 to 9; below the object ends there/);
  assert.match(carriedInWords(5, [2, 6], [2, 8]), /above the object ends/);
  assert.match(carriedInWords(5, [4, 6], [2, 8]), /on both sides/);
  assert.match(carriedInWords(5, [5, 5], [2, 8]), /ends here/);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { dragged, greyTable, presetsOf } from "../src/windows.ts";

test("a window of 400 at 40 shows -160 black, 240 white and 40 in the middle", () => {
  const table = greyTable({ level: 40, width: 400, invert: false }, true);
  const grey = (value: number): number => (table[value & 0xffff] as number) & 0xff;
  assert.deepEqual([grey(-160), grey(41), grey(240), grey(-1000), grey(3000)], [0, 128, 255, 0, 255]);
});

test("unsigned values keep their upper half, and inverting turns black and white", () => {
  const table = greyTable({ level: 32767.5, width: 65535, invert: true }, false);
  assert.deepEqual([(table[0] as number) & 0xff, (table[65535] as number) & 0xff], [255, 0]);
});

test("a CT has its windows, an MR shares of its own range", () => {
  assert.deepEqual(presetsOf("CT", 0, 1)[1], { name: "Lung", width: 1500, level: -600 });
  assert.deepEqual(presetsOf("MR", 10, 110)[0], { name: "Whole range", level: 60, width: 100 });
});

test("a drag to the right widens, and the width stays positive", () => {
  const start = { level: 0, width: 100, invert: false };
  assert.equal(dragged(start, 10, 0, 512).width, 110);
  assert.ok(dragged(start, -1000, 0, 512).width > 0);
  assert.equal(dragged(start, 0, 4, 512).level, 4);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { boxBetween, distanceMm, planesOf, scaleBar, toScreen, toSlice, viewMatrix, zoomAbout, type Grid } from "../src/geometry.ts";

const upright: Grid = {
  shape: [10, 20, 30],
  spacing: [5, 1, 1],
  affine: [[0, 0, 1, 0], [0, 1, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1]],
};

test("an axial scan has three planes, each with its letters where a radiologist expects them", () => {
  const planes = planesOf(upright);
  assert.deepEqual(planes.map((plane) => plane.name), ["axial", "coronal", "sagittal"]);
  assert.deepEqual(planes.map((plane) => plane.count), [10, 20, 30]);
  assert.deepEqual(planes[0]?.letters, { left: "R", right: "L", top: "A", bottom: "P" });
  assert.deepEqual(planes[1]?.letters, { left: "R", right: "L", top: "S", bottom: "I" });
  assert.deepEqual(planes[2]?.letters, { left: "A", right: "P", top: "S", bottom: "I" });
});

test("an array that runs from left to right is mirrored on the screen", () => {
  const mirrored = { ...upright, affine: [[0, 0, -1, 0], [0, 1, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1]] };
  assert.deepEqual(planesOf(mirrored)[0]?.columnStep, [-1, 0]);
});

test("a sagittal acquisition names its first plane sagittal and is turned upright", () => {
  const sagittal: Grid = { shape: [5, 8, 6], spacing: [3, 1, 1], affine: [[3, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]] };
  const plane = planesOf(sagittal)[0];
  assert.equal(plane?.name, "sagittal");
  assert.deepEqual([plane?.columnStep, plane?.rowStep], [[1, 0], [0, 1]]);
});

test("a picture has one plane and no letters", () => {
  const planes = planesOf({ shape: [1, 4, 6], spacing: null, affine: null });
  assert.equal(planes.length, 1);
  assert.equal(planes[0]?.letters, null);
});

test("screen and slice are each other's inverse, and the slice fits with its middle in the middle", () => {
  const plane = planesOf(upright)[1];
  assert.ok(plane);
  const matrix = viewMatrix(plane, { zoom: 1, pan: [0, 0] }, 600, 400);
  const [x, y] = toSlice(matrix, toScreen(matrix, [7.25, 3.5]));
  assert.ok(Math.abs(x - 7.25) < 1e-9 && Math.abs(y - 3.5) < 1e-9);
  const middle = toScreen(matrix, [14.5, 4.5]);
  assert.ok(Math.abs(middle[0] - 300) < 1e-9 && Math.abs(middle[1] - 200) < 1e-9);
  assert.equal(Math.abs(matrix.d) / Math.abs(matrix.a), 5);
});

test("zooming keeps the point under the pointer", () => {
  const plane = planesOf(upright)[0];
  assert.ok(plane);
  const before = { zoom: 1, pan: [0, 0] as [number, number] };
  const at: [number, number] = [123, 77];
  const under = toSlice(viewMatrix(plane, before, 500, 300), at);
  const after = toSlice(viewMatrix(plane, zoomAbout(before, 2, at, 500, 300), 500, 300), at);
  assert.ok(Math.hypot(under[0] - after[0], under[1] - after[1]) < 1e-9);
});

test("lengths are in mm of the slice, and boxes stay inside it", () => {
  const plane = planesOf(upright)[1];
  assert.ok(plane);
  assert.equal(distanceMm(plane, [0, 0], [3, 4]), Math.hypot(3, 20));
  assert.deepEqual(boxBetween(plane, [28, 12], [-4, 2]), [0, 2, 28, 10]);
  assert.equal(boxBetween(plane, [3, 3], [3.5, 8]), null);
});

test("the scale bar is a round length that fits", () => {
  assert.deepEqual(scaleBar(4, 800), { mm: 50, pixels: 200 });
  assert.deepEqual(scaleBar(0.9, 800), { mm: 200, pixels: 180 });
});

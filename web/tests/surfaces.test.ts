import assert from "node:assert/strict";
import { test } from "node:test";
import { pick, readSurfaces, type Mesh } from "../src/surfaces.ts";
import { apply, FRONT, turned } from "../src/turning.ts";

/** A cube of `side` mm around the origin as binary STL, its faces cut into `n` by `n` squares. */
function cube(side: number, n: number, label: number): ArrayBuffer {
  const triangles: number[][] = [];
  for (let axis = 0; axis < 3; axis++) {
    for (const end of [-1, 1]) {
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          const corner = (u: number, v: number): number[] => {
            const at = [0, 0, 0];
            at[axis] = (end * side) / 2;
            at[(axis + 1) % 3] = (u / n - 0.5) * side;
            at[(axis + 2) % 3] = (v / n - 0.5) * side;
            return at;
          };
          const square = [corner(i, j), corner(i + 1, j), corner(i + 1, j + 1), corner(i, j + 1)];
          const order = end > 0 ? [0, 1, 2, 0, 2, 3] : [0, 2, 1, 0, 3, 2];
          triangles.push(order.slice(0, 3).flatMap((at) => square[at] as number[]), order.slice(3).flatMap((at) => square[at] as number[]));
        }
      }
    }
  }
  const buffer = new ArrayBuffer(84 + 50 * triangles.length);
  const view = new DataView(buffer);
  view.setUint32(80, triangles.length, true);
  triangles.forEach((triangle, at) => {
    triangle.forEach((value, k) => view.setFloat32(84 + at * 50 + 12 + 4 * k, value, true));
    view.setUint16(84 + at * 50 + 48, label, true);
  });
  return buffer;
}

function volumeOf(positions: Float32Array, indices: Uint32Array): number {
  let sum = 0;
  const at = (corner: number): number[] => [...positions.slice(3 * corner, 3 * corner + 3)];
  for (let t = 0; t < indices.length; t += 3) {
    const [a, b, c] = [at(indices[t] as number), at(indices[t + 1] as number), at(indices[t + 2] as number)] as [number[], number[], number[]];
    sum += (a[0] as number) * ((b[1] as number) * (c[2] as number) - (b[2] as number) * (c[1] as number));
    sum += (a[1] as number) * ((b[2] as number) * (c[0] as number) - (b[0] as number) * (c[2] as number));
    sum += (a[2] as number) * ((b[0] as number) * (c[1] as number) - (b[1] as number) * (c[0] as number));
  }
  return sum / 6;
}

test("corners are shared, the surface stays closed and keeps its volume within five hundredths", () => {
  const [mesh] = readSurfaces(cube(20, 10, 7));
  assert.ok(mesh);
  assert.equal(mesh.label, 7);
  assert.equal(mesh.positions.length / 3, 6 * 10 * 10 + 2); // a closed mesh of squares has two corners more than squares
  assert.equal(mesh.indices.length / 3, 2 * 6 * 100);
  assert.ok(Math.abs(volumeOf(mesh.positions, mesh.indices) / 8000 - 1) < 0.05);
});

test("normals have length one and point outwards", () => {
  const mesh = readSurfaces(cube(20, 6, 1))[0] as Mesh;
  for (let at = 0; at < mesh.normals.length; at += 3) {
    const normal: Float32Array = mesh.normals.slice(at, at + 3);
    assert.ok(Math.abs(Math.hypot(...normal) - 1) < 1e-5);
    let along = 0;
    for (let axis = 0; axis < 3; axis++) along += (normal[axis] as number) * (mesh.positions[at + axis] as number);
    assert.ok(along > 0);
  }
});

test("a file that is cut off is refused, and one without triangles has no mesh", () => {
  assert.throws(() => readSurfaces(cube(20, 2, 1).slice(0, 200)), /cut off/);
  assert.deepEqual(readSurfaces(new ArrayBuffer(84)), []);
});

test("a click meets the surface that is nearest to who looks", () => {
  const meshes = readSurfaces(cube(20, 8, 1));
  const found = pick(meshes, FRONT, [0, 0]);
  assert.ok(found && Math.abs(found[0]) < 0.1 && Math.abs(found[2]) < 0.1);
  assert.ok(found[1] < -9 && found[1] > -11); // who looks stands in front: anterior is -P
  assert.equal(pick(meshes, FRONT, [40, 0]), null);
});

test("from the front left is on the right and superior above; a quarter turn to the right shows the patient's right side", () => {
  assert.deepEqual(apply(FRONT, [1, 0, 0]), [1, 0, 0]);
  assert.deepEqual(apply(FRONT, [0, 0, 1]), [0, 1, 0]);
  const side = apply(turned(FRONT, Math.PI / 2, 0), [-1, 0, 0]);
  assert.ok(side[2] > 0.999); // right points to who looks
});

/** Surfaces of labelled objects: binary STL as the server writes it, welded, smoothed a little for the eye, and with normals. */

export interface Mesh {
  label: number;
  /** x, y, z in mm (L, P, S) of every corner. */
  positions: Float32Array;
  normals: Float32Array;
  /** Three corners of every triangle. */
  indices: Uint32Array;
}

const HEADER = 84;
const FACET = 50;
const ROUNDS = 12;
// Taubin's pair: a step inwards and a slightly larger one outwards, so that the volume stays.
const [INWARDS, OUTWARDS] = [0.5, -0.53];

/** One mesh for each label; the two free bytes of an STL triangle hold it. */
export function readSurfaces(buffer: ArrayBuffer): Mesh[] {
  const view = new DataView(buffer);
  const count = buffer.byteLength >= HEADER ? view.getUint32(HEADER - 4, true) : 0;
  if (buffer.byteLength !== HEADER + count * FACET) throw new Error("a surface that is cut off");
  const triangles = new Map<number, number[]>();
  for (let at = 0; at < count; at++) {
    const label = view.getUint16(HEADER + at * FACET + 48, true);
    const own = triangles.get(label);
    if (own) own.push(at);
    else triangles.set(label, [at]);
  }
  return [...triangles].sort((one, two) => one[0] - two[0]).map(([label, own]) => weld(view, label, own));
}

/** Corners at the same place become one, so that neighbours share them. */
function weld(view: DataView, label: number, own: number[]): Mesh {
  const size = 1 << Math.ceil(Math.log2(own.length * 6 + 2)); // at most half full, as three corners a triangle are the most
  const table = new Int32Array(size).fill(-1);
  const bits = new Uint32Array(own.length * 9);
  const indices = new Uint32Array(own.length * 3);
  let corners = 0;
  let next = 0;
  for (const at of own) {
    for (let corner = 0; corner < 3; corner++) {
      const from = HEADER + at * FACET + 12 + corner * 12;
      const [x, y, z] = [view.getUint32(from, true), view.getUint32(from + 4, true), view.getUint32(from + 8, true)];
      let slot = (Math.imul(x, 73856093) ^ Math.imul(y, 19349663) ^ Math.imul(z, 83492791)) & (size - 1);
      for (; table[slot] !== -1; slot = (slot + 1) & (size - 1)) {
        const known = 3 * (table[slot] as number);
        if (bits[known] === x && bits[known + 1] === y && bits[known + 2] === z) break;
      }
      if (table[slot] === -1) {
        table[slot] = corners;
        bits.set([x, y, z], 3 * corners++);
      }
      indices[next++] = table[slot] as number;
    }
  }
  const positions = new Float32Array(bits.buffer, 0, corners * 3).slice();
  smooth(positions, indices);
  return { label, positions, normals: normalsOf(positions, indices), indices };
}

/** Take the steps of the voxels off a surface; its volume stays nearly as it is. */
function smooth(positions: Float32Array, indices: Uint32Array): void {
  const neighbours = new Float32Array(positions.length / 3);
  for (const corner of indices) neighbours[corner] = (neighbours[corner] as number) + 2;
  const sums = new Float32Array(positions.length);
  for (let round = 0; round < 2 * ROUNDS; round++) {
    sums.fill(0);
    for (let at = 0; at < indices.length; at += 3) {
      const [a, b, c] = [3 * (indices[at] as number), 3 * (indices[at + 1] as number), 3 * (indices[at + 2] as number)];
      for (let axis = 0; axis < 3; axis++) {
        const [pa, pb, pc] = [positions[a + axis] as number, positions[b + axis] as number, positions[c + axis] as number];
        sums[a + axis] = (sums[a + axis] as number) + pb + pc;
        sums[b + axis] = (sums[b + axis] as number) + pa + pc;
        sums[c + axis] = (sums[c + axis] as number) + pa + pb;
      }
    }
    const share = round % 2 ? OUTWARDS : INWARDS;
    for (let at = 0; at < positions.length; at++) {
      const now = positions[at] as number;
      positions[at] = now + share * ((sums[at] as number) / (neighbours[(at / 3) | 0] as number) - now);
    }
  }
}

function normalsOf(positions: Float32Array, indices: Uint32Array): Float32Array {
  const normals = new Float32Array(positions.length);
  const side = (from: number, to: number, axis: number): number => (positions[to + axis] as number) - (positions[from + axis] as number);
  for (let at = 0; at < indices.length; at += 3) {
    const [a, b, c] = [3 * (indices[at] as number), 3 * (indices[at + 1] as number), 3 * (indices[at + 2] as number)];
    for (let axis = 0; axis < 3; axis++) {
      const [one, two] = [(axis + 1) % 3, (axis + 2) % 3];
      const part = side(a, b, one) * side(a, c, two) - side(a, b, two) * side(a, c, one); // its length is twice the area: large triangles count more
      for (const corner of [a, b, c]) normals[corner + axis] = (normals[corner + axis] as number) + part;
    }
  }
  for (let at = 0; at < normals.length; at += 3) {
    const length = Math.hypot(normals[at] as number, normals[at + 1] as number, normals[at + 2] as number) || 1;
    for (let axis = 0; axis < 3; axis++) normals[at + axis] = (normals[at + axis] as number) / length;
  }
  return normals;
}

/** Where a ray along the screen meets the nearest surface, in mm; null where it meets none. `turn` is mm to screen without its place. */
export function pick(meshes: readonly Mesh[], turn: readonly number[], [x, y]: readonly [number, number]): [number, number, number] | null {
  let best: { depth: number; at: [number, number, number] } | null = null;
  const row = (r: number, p: Float32Array, i: number): number => (turn[r] as number) * (p[i] as number) + (turn[r + 3] as number) * (p[i + 1] as number) + (turn[r + 6] as number) * (p[i + 2] as number);
  for (const { positions, indices } of meshes) {
    const screen = new Float32Array(positions.length);
    for (let i = 0; i < positions.length; i += 3) for (let r = 0; r < 3; r++) screen[i + r] = row(r, positions, i);
    for (let t = 0; t < indices.length; t += 3) {
      const corners = [0, 1, 2].map((k) => 3 * (indices[t + k] as number)) as [number, number, number];
      const weights = barycentric(screen, corners, x, y);
      if (!weights) continue;
      const mixed = (values: Float32Array, axis: number): number => corners.reduce((sum, corner, k) => sum + (weights[k] as number) * (values[corner + axis] as number), 0);
      const depth = mixed(screen, 2);
      if (!best || depth > best.depth) best = { depth, at: [mixed(positions, 0), mixed(positions, 1), mixed(positions, 2)] };
    }
  }
  return best?.at ?? null;
}

function barycentric(screen: Float32Array, [a, b, c]: [number, number, number], x: number, y: number): [number, number, number] | null {
  const [ax, ay, bx, by, cx, cy] = [screen[a], screen[a + 1], screen[b], screen[b + 1], screen[c], screen[c + 1]] as [number, number, number, number, number, number];
  const area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay);
  if (area === 0) return null;
  const two = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area;
  const three = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area;
  return two < 0 || three < 0 || two + three > 1 ? null : [1 - two - three, two, three];
}

/** Where planes lie in a scan and where a slice lies on the screen. Array axes are z, y, x; the patient's are L, P, S. */

export type Triple = [number, number, number];
export type PlaneName = "axial" | "coronal" | "sagittal";
export type Point = [number, number];

export interface Grid {
  shape: Triple;
  /** mm between voxels along z, y, x; null where unknown. */
  spacing: Triple | null;
  /** Index (z, y, x, 1) to mm (L, P, S, 1); null where the scan has no place in a patient. */
  affine: number[][] | null;
}

/** Slice pixel (x, y) to screen: x' = a x + c y + e, y' = b x + d y + f, as a canvas has it. */
export interface Matrix {
  a: number;
  b: number;
  c: number;
  d: number;
  e: number;
  f: number;
}

export interface Plane {
  name: PlaneName;
  /** The array axis that its slices are counted along. */
  axis: 0 | 1 | 2;
  count: number;
  /** Rows and columns of a slice as the server sends it: the other two array axes in order. */
  rows: number;
  columns: number;
  rowMm: number;
  columnMm: number;
  /** What lengths on it are in: pixels where the spacing is unknown. */
  unit: "mm" | "px";
  /** Unit steps on the screen (right, down) of one column and one row. */
  columnStep: Point;
  rowStep: Point;
  letters: { left: string; right: string; top: string; bottom: string } | null;
}

// What is on the right and what is below, as (patient axis, sign): the radiologist's usual view.
const SHOWN: Record<PlaneName, { across: 0 | 1 | 2; right: 1 | -1; along: 0 | 1 | 2; down: 1 | -1; through: 0 | 1 | 2 }> = {
  axial: { across: 0, right: 1, along: 1, down: 1, through: 2 },
  coronal: { across: 0, right: 1, along: 2, down: -1, through: 1 },
  sagittal: { across: 1, right: 1, along: 2, down: -1, through: 0 },
};
const LETTERS: [string, string][] = [["R", "L"], ["A", "P"], ["I", "S"]];

interface Direction {
  patient: 0 | 1 | 2;
  sign: 1 | -1;
}

/** Which patient axis each array axis follows best; null where two would follow the same one. */
export function directions(affine: number[][] | null): [Direction, Direction, Direction] | null {
  if (!affine) return null;
  const best: { patient: 0 | 1 | 2; sign: 1 | -1; size: number; axis: number }[] = [];
  for (let axis = 0; axis < 3; axis++) {
    for (const patient of [0, 1, 2] as const) {
      const value = affine[patient]?.[axis] ?? 0;
      const length = Math.hypot(affine[0]?.[axis] ?? 0, affine[1]?.[axis] ?? 0, affine[2]?.[axis] ?? 0) || 1;
      best.push({ patient, sign: value < 0 ? -1 : 1, size: Math.abs(value) / length, axis });
    }
  }
  best.sort((one, two) => two.size - one.size);
  const found: (Direction | undefined)[] = [undefined, undefined, undefined];
  const taken = new Set<number>();
  for (const { axis, patient, sign } of best) {
    if (found[axis] || taken.has(patient)) continue;
    found[axis] = { patient, sign };
    taken.add(patient);
  }
  const [z, y, x] = found;
  return z && y && x ? [z, y, x] : null;
}

/** The planes of a scan, the acquired one first; a picture, or a stack without a place in a patient, has one. */
export function planesOf(grid: Grid): Plane[] {
  const found = grid.spacing ? directions(grid.affine) : null;
  if (!found) return [flatPlane(grid)];
  const planes: Plane[] = [];
  for (const axis of [0, 1, 2] as const) {
    const through = found[axis].patient;
    const name = (Object.keys(SHOWN) as PlaneName[]).find((key) => SHOWN[key].through === through);
    if (name) planes.push(plane(grid, axis, name, found));
  }
  return grid.shape[0] === 1 ? planes.slice(0, 1) : planes;
}

/** The array axes of the rows and columns of a plane. */
export function otherAxes(axis: number): [0 | 1 | 2, 0 | 1 | 2] {
  return axis === 0 ? [1, 2] : axis === 1 ? [0, 2] : [0, 1];
}

function plane(grid: Grid, axis: 0 | 1 | 2, name: PlaneName, found: [Direction, Direction, Direction]): Plane {
  const [rowAxis, columnAxis] = otherAxes(axis);
  const shown = SHOWN[name];
  const step = (of: 0 | 1 | 2): Point => {
    const { patient, sign } = found[of];
    return patient === shown.across ? [sign * shown.right, 0] : [0, sign * shown.down];
  };
  const across = LETTERS[shown.across] as [string, string];
  const along = LETTERS[shown.along] as [string, string];
  const spacing = grid.spacing as Triple;
  return {
    name,
    axis,
    count: grid.shape[axis],
    rows: grid.shape[rowAxis],
    columns: grid.shape[columnAxis],
    rowMm: spacing[rowAxis],
    columnMm: spacing[columnAxis],
    unit: "mm",
    columnStep: step(columnAxis),
    rowStep: step(rowAxis),
    letters: {
      left: across[shown.right === 1 ? 0 : 1],
      right: across[shown.right === 1 ? 1 : 0],
      top: along[shown.down === 1 ? 0 : 1],
      bottom: along[shown.down === 1 ? 1 : 0],
    },
  };
}

function flatPlane(grid: Grid): Plane {
  const [count, rows, columns] = grid.shape;
  const spacing = grid.spacing ?? [1, 1, 1];
  return {
    name: "axial", axis: 0, count, rows, columns, rowMm: spacing[1], columnMm: spacing[2], unit: grid.spacing ? "mm" : "px",
    columnStep: [1, 0], rowStep: [0, 1], letters: null,
  };
}

export interface View {
  /** Times the size at which the slice just fits. */
  zoom: number;
  /** Screen pixels by which the middle of the slice lies beside the middle of the pane. */
  pan: Point;
}

/** Slice to screen. A pixel centre is at an integer, so that the slice runs from -0.5 to columns - 0.5. */
export function viewMatrix(plane: Plane, view: View, width: number, height: number): Matrix {
  const [cx, cy] = plane.columnStep;
  const [rx, ry] = plane.rowStep;
  const sizeX = Math.abs(cx) * plane.columns * plane.columnMm + Math.abs(rx) * plane.rows * plane.rowMm;
  const sizeY = Math.abs(cy) * plane.columns * plane.columnMm + Math.abs(ry) * plane.rows * plane.rowMm;
  const scale = Math.min(width / sizeX, height / sizeY) * view.zoom;
  const a = cx * plane.columnMm * scale;
  const b = cy * plane.columnMm * scale;
  const c = rx * plane.rowMm * scale;
  const d = ry * plane.rowMm * scale;
  const middle: Point = [(plane.columns - 1) / 2, (plane.rows - 1) / 2];
  return {
    a, b, c, d,
    e: width / 2 + view.pan[0] - a * middle[0] - c * middle[1],
    f: height / 2 + view.pan[1] - b * middle[0] - d * middle[1],
  };
}

export function toScreen(m: Matrix, [x, y]: Point): Point {
  return [m.a * x + m.c * y + m.e, m.b * x + m.d * y + m.f];
}

export function toSlice(m: Matrix, [x, y]: Point): Point {
  const size = m.a * m.d - m.b * m.c;
  const dx = x - m.e;
  const dy = y - m.f;
  return [(m.d * dx - m.c * dy) / size, (m.a * dy - m.b * dx) / size];
}

/** Screen pixels per mm. */
export function pixelsPerMm(m: Matrix, plane: Plane): number {
  return Math.hypot(m.a, m.b) / plane.columnMm;
}

/** The view after zooming by a factor about a screen point, which stays where it is. */
export function zoomAbout(view: View, factor: number, at: Point, width: number, height: number): View {
  const zoom = Math.min(40, Math.max(0.5, view.zoom * factor));
  const real = zoom / view.zoom;
  const from: Point = [at[0] - width / 2, at[1] - height / 2];
  return { zoom, pan: [from[0] - (from[0] - view.pan[0]) * real, from[1] - (from[1] - view.pan[1]) * real] };
}

/** Length in mm between two points of a slice. */
export function distanceMm(plane: Plane, one: Point, two: Point): number {
  return Math.hypot((two[0] - one[0]) * plane.columnMm, (two[1] - one[1]) * plane.rowMm);
}

/** A box as the server takes it, inside the slice and at least one pixel wide and high; null where it is smaller. */
export function boxBetween(plane: Plane, one: Point, two: Point): [number, number, number, number] | null {
  return boxAround(plane, [one, two]);
}

/** As boxBetween, around any points. */
export function boxAround(plane: Plane, points: readonly Point[]): [number, number, number, number] | null {
  const inside = (at: 0 | 1, most: number): number[] => points.map((point) => Math.min(most, Math.max(0, point[at])));
  const [xs, ys] = [inside(0, plane.columns), inside(1, plane.rows)];
  const [x0, y0, x1, y1] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  return x1 - x0 < 1 || y1 - y0 < 1 ? null : [round(x0), round(y0), round(x1), round(y1)];
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** A round length for the scale bar, between a tenth and a third of the pane, and its pixels. */
export function scaleBar(perMm: number, width: number): { mm: number; pixels: number } {
  const most = width / 4 / perMm;
  const power = 10 ** Math.floor(Math.log10(most));
  const mm = [5, 2, 1].map((times) => times * power).find((length) => length <= most) ?? power;
  return { mm, pixels: mm * perMm };
}

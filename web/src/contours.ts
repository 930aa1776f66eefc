/** Outlines of labels along the edges of their pixels, so that the drawn line is the mask, voxel for voxel. */

export interface LabelSlice {
  rows: number;
  columns: number;
  labels: Uint16Array;
}

/** Line segments (x0, y0, x1, y1, ...) around every pixel area of a label; pixel centres are at integers. */
export function outline(slice: LabelSlice, label: number): number[] {
  const { rows, columns, labels } = slice;
  const inside = (row: number, column: number): boolean =>
    row >= 0 && column >= 0 && row < rows && column < columns && labels[row * columns + column] === label;
  const segments: number[] = [];
  for (let row = 0; row <= rows; row++) {
    let from = -1;
    for (let column = 0; column <= columns; column++) {
      const edge = column < columns && inside(row - 1, column) !== inside(row, column);
      if (edge && from < 0) from = column;
      if (!edge && from >= 0) {
        segments.push(from - 0.5, row - 0.5, column - 0.5, row - 0.5);
        from = -1;
      }
    }
  }
  for (let column = 0; column <= columns; column++) {
    let from = -1;
    for (let row = 0; row <= rows; row++) {
      const edge = row < rows && inside(row, column - 1) !== inside(row, column);
      if (edge && from < 0) from = row;
      if (!edge && from >= 0) {
        segments.push(column - 0.5, from - 0.5, column - 0.5, row - 0.5);
        from = -1;
      }
    }
  }
  return segments;
}

/** Labels that a slice holds, ascending. */
export function labelsIn(slice: LabelSlice): number[] {
  const found = new Set<number>();
  let last = 0;
  for (const label of slice.labels) {
    if (label !== last) {
      found.add(label);
      last = label;
    }
  }
  found.delete(0);
  return [...found].sort((one, two) => one - two);
}

export interface Stamp {
  erase: boolean;
  /** Labels that are locked. */
  kept?: ReadonlySet<number>;
  /** Whether a pixel may change, as by its value in the scan. */
  allowed?: ((at: number) => boolean) | null;
}

/** Set or clear the pixels of a label within a disc (an ellipse where pixels are not square); says whether any changed. */
export function stampDisc(
  slice: LabelSlice, label: number, middle: [number, number], radius: [number, number], stamp: Stamp,
): boolean {
  const { erase, kept, allowed } = stamp;
  let changed = false;
  const [cx, cy] = middle;
  const [rx, ry] = radius;
  for (let row = Math.max(0, Math.ceil(cy - ry)); row <= Math.min(slice.rows - 1, Math.floor(cy + ry)); row++) {
    for (let column = Math.max(0, Math.ceil(cx - rx)); column <= Math.min(slice.columns - 1, Math.floor(cx + rx)); column++) {
      if (((column - cx) / rx) ** 2 + ((row - cy) / ry) ** 2 > 1) continue;
      const at = row * slice.columns + column;
      const now = slice.labels[at] as number;
      if (kept?.has(now) || (allowed && !allowed(at))) continue;
      const next = erase ? (now === label ? 0 : now) : label;
      if (next !== now) {
        slice.labels[at] = next;
        changed = true;
      }
    }
  }
  return changed;
}

/** The disc moved along a line, without gaps. */
export function stampLine(
  slice: LabelSlice, label: number, from: [number, number], to: [number, number], radius: [number, number], stamp: Stamp,
): boolean {
  const steps = Math.max(1, Math.ceil(Math.hypot((to[0] - from[0]) / radius[0], (to[1] - from[1]) / radius[1]) * 3));
  let changed = false;
  for (let step = 0; step <= steps; step++) {
    const share = step / steps;
    const at: [number, number] = [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share];
    changed = stampDisc(slice, label, at, radius, stamp) || changed;
  }
  return changed;
}

/** Masks as runs (start, length, ...), small enough for the browser's own storage. */

/** Runs of the pixels for which something holds. */
export function runsWhere(pixels: number, holds: (at: number) => boolean): number[] {
  const runs: number[] = [];
  let from = -1;
  for (let at = 0; at <= pixels; at++) {
    const inside = at < pixels && holds(at);
    if (inside && from < 0) from = at;
    if (!inside && from >= 0) {
      runs.push(from, at - from);
      from = -1;
    }
  }
  return runs;
}

/** The labels after the model's answer for one object: its old pixels go, those of the runs come. */
export function withMask(labels: Uint16Array, runs: readonly number[], label: number): Uint16Array {
  const changed = labels.map((old) => (old === label ? 0 : old));
  eachRun(runs, (from, to) => changed.fill(label, from, to));
  return changed;
}

/** The labels after a stroke of brush or eraser. */
export function withEdit(labels: Uint16Array, edit: { label: number; painted: readonly number[]; erased: readonly number[] }): Uint16Array {
  const changed = labels.slice();
  eachRun(edit.erased, (from, to) => {
    for (let at = from; at < to; at++) if (changed[at] === edit.label) changed[at] = 0;
  });
  eachRun(edit.painted, (from, to) => changed.fill(edit.label, from, to));
  return changed;
}

function eachRun(runs: readonly number[], act: (from: number, to: number) => void): void {
  for (let i = 0; i + 1 < runs.length; i += 2) act(runs[i] as number, (runs[i] as number) + (runs[i + 1] as number));
}

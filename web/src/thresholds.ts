/** A range of the scan's values within which the brush paints. */

import type { SliceImage } from "./slice_image.ts";

export interface Range {
  low: number;
  high: number;
}

/** Whether a pixel's value lies in the range; a colour picture has no values to compare, so that nothing is excluded. */
export function inRange(slice: SliceImage | null, { low, high }: Range): ((at: number) => boolean) | null {
  if (!slice || slice.kind === "color") return null;
  const { values } = slice;
  return (at) => (values[at] as number) >= low && (values[at] as number) <= high;
}

/** The range of what lies under a brush: its mean, two spreads either way; null beside the slice or on a colour picture. */
export function rangeUnder(slice: SliceImage | null, middle: readonly [number, number], radius: readonly [number, number]): Range | null {
  if (!slice || slice.kind === "color") return null;
  let [count, sum, squares] = [0, 0, 0];
  for (let row = Math.max(0, Math.ceil(middle[1] - radius[1])); row <= Math.min(slice.rows - 1, Math.floor(middle[1] + radius[1])); row++) {
    for (let column = Math.max(0, Math.ceil(middle[0] - radius[0])); column <= Math.min(slice.columns - 1, Math.floor(middle[0] + radius[0])); column++) {
      if (((column - middle[0]) / radius[0]) ** 2 + ((row - middle[1]) / radius[1]) ** 2 > 1) continue;
      const value = slice.values[row * slice.columns + column] as number;
      [count, sum, squares] = [count + 1, sum + value, squares + value * value];
    }
  }
  if (!count) return null;
  const mean = sum / count;
  const spread = Math.max(Math.sqrt(Math.max(0, squares / count - mean * mean)), Math.abs(mean) * 0.01);
  return { low: round(mean - 2 * spread), high: round(mean + 2 * spread) };
}

function round(value: number): number {
  return Math.abs(value) >= 10 ? Math.round(value) : Math.round(value * 1000) / 1000;
}

/** Points along a stroke, evenly spaced, first and last among them. */
export function pointsAlong(stroke: readonly (readonly [number, number])[], most = 12): [number, number][] {
  if (!stroke.length) return [];
  const lengths = [0];
  for (let at = 1; at < stroke.length; at++) {
    const [one, two] = [stroke[at - 1] as [number, number], stroke[at] as [number, number]];
    lengths.push((lengths[at - 1] as number) + Math.hypot(two[0] - one[0], two[1] - one[1]));
  }
  const whole = lengths[lengths.length - 1] as number;
  const count = Math.max(1, Math.min(most, Math.floor(whole / 2) + 1)); // closer than two pixels a point says nothing new
  const points: [number, number][] = [];
  for (let n = 0, at = 0; n < count; n++) {
    const wanted = count === 1 ? whole / 2 : (whole * n) / (count - 1);
    while (at + 2 < lengths.length && (lengths[at + 1] as number) < wanted) at++;
    const [one, two] = [stroke[at] as [number, number], (stroke[at + 1] ?? stroke[at]) as [number, number]];
    const span = ((lengths[at + 1] ?? lengths[at]) as number) - (lengths[at] as number);
    const share = span ? (wanted - (lengths[at] as number)) / span : 0;
    points.push([one[0] + (two[0] - one[0]) * share, one[1] + (two[1] - one[1]) * share]);
  }
  return points;
}

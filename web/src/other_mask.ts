/** Another version over one's own: its outline, in a lighter colour, or where the two differ, in colour. */

import { labelsIn, outline, type LabelSlice } from "./contours.ts";
import { toScreen, type Matrix } from "./geometry.ts";

// Red, green, blue, alpha of what is only here, only there, and in both; apart for those who see no red or no green too.
export const ONLY_HERE = [240, 160, 48, 150] as const;
export const ONLY_THERE = [64, 140, 255, 150] as const;
export const BOTH = [220, 220, 220, 60] as const;

/** Colour the difference of an object between two slices of one size, four bytes a pixel. */
export function paintDifference(here: LabelSlice, there: LabelSlice, label: number): Uint8ClampedArray<ArrayBuffer> {
  const out = new Uint8ClampedArray(4 * here.labels.length);
  for (let at = 0; at < here.labels.length; at++) {
    const [mine, other] = [here.labels[at] === label, there.labels[at] === label];
    if (mine || other) out.set(mine && other ? BOTH : mine ? ONLY_HERE : ONLY_THERE, 4 * at);
  }
  return out;
}

/** Draws the other version; outlines and colours are kept until a mask changes. */
export class OtherMask {
  private key = "";
  private outlines = new Map<number, number[]>();
  private readonly fills = document.createElement("canvas");

  /** The difference as a picture of the slice's size. */
  colored(here: LabelSlice, there: LabelSlice, label: number, version: string): HTMLCanvasElement {
    const key = `colour/${version}/${label}`;
    if (key !== this.key) {
      this.key = key;
      [this.fills.width, this.fills.height] = [here.columns, here.rows];
      this.fills.getContext("2d")?.putImageData(new ImageData(paintDifference(here, there, label), here.columns, here.rows), 0, 0);
    }
    return this.fills;
  }

  outlined(context: CanvasRenderingContext2D, there: LabelSlice, matrix: Matrix, colors: ReadonlyMap<number, string>, version: string): void {
    const key = `lines/${version}`;
    if (key !== this.key) {
      this.key = key;
      this.outlines = new Map(labelsIn(there).map((label) => [label, outline(there, label)]));
    }
    for (const [label, segments] of this.outlines) {
      for (const [width, style] of [[3.5, "rgba(0, 0, 0, 0.6)"], [1.75, lighter(colors.get(label) ?? "#888888")]] as const) {
        context.beginPath();
        for (let i = 0; i < segments.length; i += 4) {
          context.moveTo(...toScreen(matrix, [segments[i] as number, segments[i + 1] as number]));
          context.lineTo(...toScreen(matrix, [segments[i + 2] as number, segments[i + 3] as number]));
        }
        context.lineWidth = width;
        context.strokeStyle = style;
        context.stroke();
      }
    }
  }
}

/** A hex colour half way to white. */
export function lighter(color: string): string {
  return `#${[1, 3, 5].map((at) => Math.round((Number.parseInt(color.slice(at, at + 2), 16) + 255) / 2).toString(16).padStart(2, "0")).join("")}`;
}

/** A slice as stored, and how it is painted onto a canvas of its own size. */

import { greyTable, type Windowing } from "./windows.ts";

export type GreyValues = Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array;

export interface SliceImage {
  /** "color": red, green, blue of every pixel, row by row. */
  kind: "grey" | "color";
  rows: number;
  columns: number;
  values: GreyValues;
}

/** Paints slices; keeps the last table, because scrolling changes the slice and not the window. */
export class SlicePainter {
  readonly canvas = document.createElement("canvas");
  private key = "";
  private table: Uint32Array<ArrayBufferLike> = new Uint32Array(0);
  private pixels: ImageData | null = null;

  paint(slice: SliceImage, windowing: Windowing): void {
    const context = this.canvas.getContext("2d", { alpha: false });
    if (!context) return;
    if (this.canvas.width !== slice.columns || this.canvas.height !== slice.rows || !this.pixels) {
      this.canvas.width = slice.columns;
      this.canvas.height = slice.rows;
      this.pixels = context.createImageData(slice.columns, slice.rows);
    }
    const out = new Uint32Array(this.pixels.data.buffer);
    if (slice.kind === "color") paintColor(slice.values, out, windowing.invert);
    else this.paintGrey(slice, out, windowing);
    context.putImageData(this.pixels, 0, 0);
  }

  private paintGrey({ values }: SliceImage, out: Uint32Array, windowing: Windowing): void {
    if (values.BYTES_PER_ELEMENT === 4) {
      paintWide(values, out, windowing);
      return;
    }
    const signed = values instanceof Int16Array || values instanceof Int8Array;
    const key = [windowing.level, windowing.width, windowing.invert, signed].join();
    if (key !== this.key) {
      this.table = greyTable(windowing, signed);
      this.key = key;
    }
    const table = this.table;
    for (let i = 0; i < values.length; i++) out[i] = table[(values[i] as number) & 0xffff] as number;
  }
}

/** Values of more than 16 bits, without a table. */
function paintWide(values: GreyValues, out: Uint32Array, windowing: Windowing): void {
  const low = windowing.level - windowing.width / 2;
  const factor = 255 / windowing.width;
  const turn = windowing.invert ? 0x00ffffff : 0;
  for (let i = 0; i < values.length; i++) {
    const grey = Math.round(Math.min(255, Math.max(0, ((values[i] as number) - low) * factor)));
    out[i] = (0xff000000 | (grey << 16) | (grey << 8) | grey) ^ turn;
  }
}

function paintColor(values: GreyValues, out: Uint32Array, invert: boolean): void {
  const turn = invert ? 0x00ffffff : 0;
  for (let i = 0, at = 0; i < out.length; i++, at += 3) {
    const pixel = 0xff000000 | ((values[at + 2] as number) << 16) | ((values[at + 1] as number) << 8) | (values[at] as number);
    out[i] = pixel ^ turn;
  }
}

/** Value under a pixel in words, or null outside the slice. */
export function valueAt(slice: SliceImage, x: number, y: number): string | null {
  const column = Math.round(x);
  const row = Math.round(y);
  if (column < 0 || row < 0 || column >= slice.columns || row >= slice.rows) return null;
  const at = row * slice.columns + column;
  if (slice.kind === "color") return `${slice.values[3 * at]}, ${slice.values[3 * at + 1]}, ${slice.values[3 * at + 2]}`;
  const value = slice.values[at] as number;
  return Number.isInteger(value) || Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(3);
}

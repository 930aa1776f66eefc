/** Marks on a slice: boxes, lines, clicks, the crosshair and words that are read on any ground. */

import type { Point } from "./geometry.ts";

/** A hex colour with an opacity as the pixels of a canvas have it. */
export function packed(color: string, opacity: number): number {
  const value = Number.parseInt(color.slice(1), 16);
  return ((Math.round(opacity * 255) << 24) | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

export function writeShadowed(context: CanvasRenderingContext2D, words: string, x: number, y: number): void {
  context.lineWidth = 3;
  context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.75)";
  context.strokeText(words, x, y);
  context.fillStyle = "#f4f4f2";
  context.fillText(words, x, y);
}

export function strokeBox(context: CanvasRenderingContext2D, one: Point, two: Point, color: string, given: boolean): void {
  context.setLineDash(given ? [5, 4] : []);
  context.lineWidth = given ? 1.25 : 1.75;
  context.strokeStyle = color;
  context.strokeRect(Math.min(one[0], two[0]), Math.min(one[1], two[1]), Math.abs(two[0] - one[0]), Math.abs(two[1] - one[1]));
  context.setLineDash([]);
}

export function strokeLine(context: CanvasRenderingContext2D, one: Point, two: Point, color: string): void {
  context.lineCap = "round";
  for (const [width, style] of [[4, "rgba(0, 0, 0, 0.6)"], [2, color]] as const) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.beginPath();
    context.moveTo(...one);
    context.lineTo(...two);
    context.stroke();
  }
}

/** A free line through points. */
export function strokePath(context: CanvasRenderingContext2D, points: readonly Point[], color: string): void {
  context.lineCap = "round";
  context.lineJoin = "round";
  for (const [width, style] of [[5, "rgba(0, 0, 0, 0.5)"], [3, color]] as const) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.beginPath();
    points.forEach((point, at) => (at ? context.lineTo(...point) : context.moveTo(...point)));
    context.stroke();
  }
}

export function drawClick(context: CanvasRenderingContext2D, [x, y]: Point, inside: boolean): void {
  context.beginPath();
  context.arc(x, y, 6, 0, 2 * Math.PI);
  context.fillStyle = inside ? "#1f9d55" : "#d64545";
  context.fill();
  context.lineWidth = 1.5;
  context.strokeStyle = "#ffffff";
  context.stroke();
  context.beginPath();
  context.moveTo(x - 3, y);
  context.lineTo(x + 3, y);
  if (inside) {
    context.moveTo(x, y - 3);
    context.lineTo(x, y + 3);
  }
  context.stroke();
}

export function drawCrosshair(context: CanvasRenderingContext2D, [x, y]: Point, width: number, height: number): void {
  context.lineWidth = 1;
  context.strokeStyle = "rgba(120, 200, 255, 0.6)";
  context.beginPath();
  context.moveTo(0, y);
  context.lineTo(x - 10, y);
  context.moveTo(x + 10, y);
  context.lineTo(width, y);
  context.moveTo(x, 0);
  context.lineTo(x, y - 10);
  context.moveTo(x, y + 10);
  context.lineTo(x, height);
  context.stroke();
}

/** What lies over the slice of a pane: prompts with their lengths, the brush, orientation letters, the scale. */

import { distanceMm, pixelsPerMm, scaleBar, toScreen, type Matrix, type Plane, type Point } from "./geometry.ts";
import { drawClick, drawCrosshair, strokeBox, strokeLine, writeShadowed } from "./marks.ts";

export interface Drawn {
  kind: "box" | "inside" | "outside" | "axes";
  points: Point[];
  color: string;
}

/** The canvas of a pane and how its slice lies on it. */
export interface Place {
  context: CanvasRenderingContext2D;
  matrix: Matrix;
  plane: Plane;
  width: number;
  height: number;
}

export function drawPrompts(place: Place, drawn: readonly Drawn[]): void {
  for (const { kind, points, color } of drawn) {
    const shown = points.map((point) => toScreen(place.matrix, point));
    if (kind === "box") strokeBox(place.context, shown[0] as Point, shown[1] as Point, color, true);
    else if (kind === "axes") for (let i = 0; i + 1 < points.length; i += 2) drawAxis(place, [points[i] as Point, points[i + 1] as Point], color);
    else drawClick(place.context, shown[0] as Point, kind === "inside");
  }
}

/** A line with its length, written beyond its end. */
export function drawAxis({ context, matrix, plane }: Place, [from, to]: [Point, Point], color: string): void {
  const [start, end] = [toScreen(matrix, from), toScreen(matrix, to)];
  strokeLine(context, start, end, color);
  context.font = "13px system-ui, sans-serif";
  writeShadowed(context, `${distanceMm(plane, from, to).toFixed(1)} ${plane.unit}`, end[0] + 10, end[1] - 8);
}

/** The circle that a stroke would paint; dashed for the eraser, which has no colour. */
export function drawBrush({ context, matrix, plane }: Place, at: Point, radiusMm: number, color: string | null): void {
  context.beginPath();
  context.arc(...at, Math.max(2, radiusMm * pixelsPerMm(matrix, plane)), 0, 2 * Math.PI);
  context.lineWidth = 1.5;
  context.strokeStyle = color ?? "#ffffff";
  context.setLineDash(color ? [] : [4, 3]);
  context.stroke();
  context.setLineDash([]);
}

export function drawFurniture(place: Place, scene: { crosshair: Point | null; index: number; slice: unknown }): void {
  const { context, matrix, plane, width, height } = place;
  if (scene.crosshair) drawCrosshair(context, toScreen(matrix, scene.crosshair), width, height);
  if (plane.letters) drawLetters(place, plane.letters);
  context.font = "13px system-ui, sans-serif";
  if (plane.letters || plane.columnMm !== 1) drawScale(place);
  if (plane.count > 1) writeShadowed(context, `${scene.index + 1} / ${plane.count}`, 14, height - 16);
  if (!scene.slice) writeShadowed(context, "loading the slice", width / 2 - 50, height / 2);
}

function drawLetters({ context, width, height }: Place, letters: NonNullable<Plane["letters"]>): void {
  context.font = "600 14px system-ui, sans-serif";
  writeShadowed(context, letters.left, 12, height / 2 + 5);
  writeShadowed(context, letters.right, width - 22, height / 2 + 5);
  writeShadowed(context, letters.top, width / 2 - 5, 24);
  writeShadowed(context, letters.bottom, width / 2 - 5, height - 14);
}

function drawScale({ context, matrix, plane, width, height }: Place): void {
  const { mm, pixels } = scaleBar(pixelsPerMm(matrix, plane), width);
  const [x, y] = [width - 18 - pixels, height - 20];
  context.lineWidth = 2;
  context.strokeStyle = "#f4f4f2";
  context.shadowColor = "#000";
  context.shadowBlur = 3;
  context.beginPath();
  context.moveTo(x, y - 5);
  context.lineTo(x, y);
  context.lineTo(x + pixels, y);
  context.lineTo(x + pixels, y - 5);
  context.stroke();
  context.shadowBlur = 0;
  writeShadowed(context, mm >= 10 ? `${mm / 10} cm` : `${mm} mm`, x, y - 10);
}

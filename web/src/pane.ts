/** One plane on the screen: a canvas that draws a slice with its masks and prompts, and turns the pointer into gestures. */

import { labelsIn, outline, type LabelSlice } from "./contours.ts";
import { element } from "./dom.ts";
import { boxBetween, pixelsPerMm, toScreen, toSlice, viewMatrix, zoomAbout, type Matrix, type Plane, type Point, type View } from "./geometry.ts";
import { packed, strokeBox, strokePath } from "./marks.ts";
import { OtherMask } from "./other_mask.ts";
import { drawAxis, drawBrush, drawFurniture, drawPrompts, type Drawn, type Place } from "./pane_marks.ts";
import { pointsAlong } from "./thresholds.ts";
import { SlicePainter, valueAt, type SliceImage } from "./slice_image.ts";
import type { Windowing } from "./windows.ts";

export type Tool = "smart" | "scribble" | "axes" | "brush" | "eraser" | "pan";

/** What a pane shows; it asks for it anew at every frame. */
export interface Scene {
  slice: SliceImage | null;
  labels: LabelSlice | null;
  /** Another version of the mask, its outline or, with `difference`, where the two differ. */
  other: LabelSlice | null;
  difference: boolean;
  /** Changes whenever either of the two does. */
  otherVersion: string;
  /** Changes whenever the labels do, so that outlines are kept between frames. */
  labelsVersion: string;
  colors: ReadonlyMap<number, string>;
  hidden: ReadonlySet<number>;
  active: number;
  opacity: number;
  windowing: Windowing;
  index: number;
  crosshair: Point | null;
  drawn: Drawn[];
  tool: Tool;
  brushMm: number;
  busy: boolean;
}

export interface Gestures {
  scroll(steps: number): void;
  window(dx: number, dy: number, begin: boolean): void;
  box(box: [number, number, number, number]): void;
  click(at: Point, outside: boolean): void;
  scribble(points: Point[], outside: boolean): void;
  axes(long: [Point, Point], short: [Point, Point] | null): void;
  stroke(from: Point, to: Point, erase: boolean, radius: Point, first: boolean): void;
  strokeEnd(): void;
  move(at: Point): void;
  hover(words: string): void;
  focus(): void;
}

type Drag =
  | { kind: "smart" | "axes"; from: Point; to: Point; screen: Point; moved: boolean; alt: boolean }
  | { kind: "scribble"; path: Point[]; outside: boolean }
  | { kind: "stroke"; last: Point; erase: boolean }
  | { kind: "pan" | "window" | "crosshair"; last: Point };

const CLICK_PX = 4; // a shorter drag is a click

export class Pane {
  readonly root: HTMLElement;
  view: View = { zoom: 1, pan: [0, 0] };
  private readonly canvas: HTMLCanvasElement;
  private readonly fills = document.createElement("canvas");
  private readonly painter = new SlicePainter();
  private readonly otherMask = new OtherMask();
  private painted = "";
  private outlined = "";
  private outlines = new Map<number, number[]>();
  private drag: Drag | null = null;
  private pointer: Point | null = null;
  private longAxis: [Point, Point] | null = null;
  private longAxisAt = -1;
  /** A corner of a box or an end of an axis that the keyboard set, and its slice. */
  private anchor: { at: Point; index: number } | null = null;
  private scheduled = false;
  private wheel = 0;
  private lastSlice: SliceImage | null = null;

  readonly plane: Plane;
  private readonly scene: () => Scene;
  private readonly gestures: Gestures;

  constructor(
    plane: Plane,
    scene: () => Scene,
    gestures: Gestures,
    label: string,
  ) {
    this.plane = plane;
    this.scene = scene;
    this.gestures = gestures;
    this.canvas = element("canvas", { class: "pane-canvas", attributes: { tabindex: 0, role: "application", "aria-label": label, "data-plane": plane.name } });
    this.root = element("div", { class: "pane" }, this.canvas);
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.listen();
  }

  get width(): number {
    return this.canvas.clientWidth;
  }

  get height(): number {
    return this.canvas.clientHeight;
  }

  matrix(): Matrix {
    return viewMatrix(this.plane, this.view, this.width, this.height);
  }

  fit(): void {
    this.view = { zoom: 1, pan: [0, 0] };
    this.draw();
  }

  zoom(factor: number): void {
    this.view = zoomAbout(this.view, factor, [this.width / 2, this.height / 2], this.width, this.height);
    this.draw();
  }

  focus(): void {
    this.canvas.focus();
  }

  /** Forget what is half drawn. */
  cancel(): boolean {
    const had = this.drag !== null || this.longAxis !== null || this.anchor !== null;
    this.drag = null;
    this.anchor = null;
    this.longAxis = null;
    this.draw();
    return had;
  }

  /** A corner of a box, or with the tool for axes an end of an axis, at a point; what to do next. */
  mark(at: Point): string {
    const { tool, index } = this.scene();
    const from = this.anchor?.index === index ? this.anchor.at : null;
    this.anchor = from ? null : { at, index };
    this.draw();
    if (!from) return `Go to the ${tool === "axes" ? "other end" : "opposite corner"} with Shift and the arrows, then press K`;
    if (tool === "axes") {
      if (from[0] !== at[0] || from[1] !== at[1]) this.onAxis([from, at]);
      return this.longAxis ? "Now the axis across it: K at both of its ends" : "";
    }
    const box = boxBetween(this.plane, from, at);
    if (box) this.gestures.box(box);
    return "";
  }

  draw(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.drawNow();
    });
  }

  private drawNow(): void {
    const scene = this.scene();
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
    if (!width || !height) return;
    if (this.canvas.width !== width || this.canvas.height !== height) [this.canvas.width, this.canvas.height] = [width, height];
    const context = this.canvas.getContext("2d", { alpha: false });
    if (!context) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    const matrix = this.matrix();
    const set = (): void => context.setTransform(ratio * matrix.a, ratio * matrix.b, ratio * matrix.c, ratio * matrix.d, ratio * matrix.e, ratio * matrix.f);
    const slice = scene.slice;
    if (slice) {
      this.paint(slice, scene.windowing);
      set();
      context.imageSmoothingEnabled = pixelsPerMm(matrix, this.plane) * this.plane.columnMm < 6;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.painter.canvas, -0.5, -0.5);
    }
    if (scene.labels) {
      this.outline(scene);
      set();
      context.imageSmoothingEnabled = false;
      const differs = scene.difference && scene.other;
      context.drawImage(differs ? this.otherMask.colored(scene.labels, differs, scene.active, scene.otherVersion) : this.fills, -0.5, -0.5);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (scene.labels) this.drawOutlines(context, scene, matrix);
    if (scene.other && !scene.difference) this.otherMask.outlined(context, scene.other, matrix, scene.colors, scene.otherVersion);
    const place = { context, matrix, plane: this.plane, width: this.width, height: this.height };
    drawPrompts(place, scene.drawn);
    this.drawPreview(place, scene);
    drawFurniture(place, scene);
    this.canvas.dataset["slice"] = String(scene.index);
    this.canvas.dataset["ready"] = String(slice !== null);
    this.canvas.dataset["labels"] = scene.labelsVersion;
  }

  private paint(slice: SliceImage, windowing: Windowing): void {
    const key = [windowing.level, windowing.width, windowing.invert].join();
    if (slice === this.lastSlice && key === this.painted) return;
    this.painter.paint(slice, windowing);
    this.lastSlice = slice;
    this.painted = key;
  }

  private outline(scene: Scene): void {
    const labels = scene.labels as LabelSlice;
    const key = [scene.labelsVersion, scene.opacity, [...scene.hidden].join("."), [...scene.colors].join("."), scene.active].join("|");
    if (key === this.outlined) return;
    this.outlined = key;
    this.outlines = new Map(labelsIn(labels).filter((label) => !scene.hidden.has(label)).map((label) => [label, outline(labels, label)]));
    [this.fills.width, this.fills.height] = [labels.columns, labels.rows];
    const context = this.fills.getContext("2d");
    if (!context) return;
    const image = context.createImageData(labels.columns, labels.rows);
    const out = new Uint32Array(image.data.buffer);
    const codes = new Map([...this.outlines.keys()].map((label) => [label, packed(scene.colors.get(label) ?? "#888888", scene.opacity)]));
    for (let i = 0; i < out.length; i++) {
      const label = labels.labels[i] as number;
      if (label) out[i] = codes.get(label) ?? 0;
    }
    context.putImageData(image, 0, 0);
  }

  private drawOutlines(context: CanvasRenderingContext2D, scene: Scene, matrix: Matrix): void {
    for (const [label, segments] of this.outlines) {
      context.beginPath();
      for (let i = 0; i < segments.length; i += 4) {
        context.moveTo(...toScreen(matrix, [segments[i] as number, segments[i + 1] as number]));
        context.lineTo(...toScreen(matrix, [segments[i + 2] as number, segments[i + 3] as number]));
      }
      context.lineCap = "square";
      context.lineWidth = label === scene.active ? 2 : 1.25;
      context.strokeStyle = scene.colors.get(label) ?? "#888888";
      context.stroke();
    }
  }

  /** What is half drawn. */
  private drawPreview(place: Place, scene: Scene): void {
    const { context, matrix } = place;
    const color = scene.colors.get(scene.active) ?? "#ffffff";
    const drag = this.drag;
    if (this.longAxis && this.longAxisAt === scene.index) drawAxis(place, this.longAxis, color);
    if (drag?.kind === "scribble") strokePath(context, drag.path.map((point) => toScreen(matrix, point)), drag.outside ? "#d64545" : "#1f9d55");
    if (drag?.kind === "smart" && drag.moved) strokeBox(context, toScreen(matrix, drag.from), toScreen(matrix, drag.to), color, false);
    if (drag?.kind === "axes") drawAxis(place, [drag.from, drag.to], color);
    if (this.anchor?.index === scene.index && scene.crosshair) {
      if (scene.tool === "axes") drawAxis(place, [this.anchor.at, scene.crosshair], color);
      else strokeBox(context, toScreen(matrix, this.anchor.at), toScreen(matrix, scene.crosshair), color, false);
    }
    if ((scene.tool === "brush" || scene.tool === "eraser") && this.pointer) drawBrush(place, this.pointer, scene.brushMm, scene.tool === "brush" ? color : null);
  }

  private listen(): void {
    const at = (event: PointerEvent | WheelEvent): Point => {
      const frame = this.canvas.getBoundingClientRect();
      return [event.clientX - frame.left, event.clientY - frame.top];
    };
    this.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    this.canvas.addEventListener("focus", () => this.gestures.focus());
    this.canvas.addEventListener("wheel", (event) => this.onWheel(event, at(event)), { passive: false });
    this.canvas.addEventListener("pointerdown", (event) => this.onDown(event, at(event)));
    this.canvas.addEventListener("pointermove", (event) => this.onMove(at(event)));
    this.canvas.addEventListener("pointerup", () => this.onUp());
    this.canvas.addEventListener("pointercancel", () => this.cancel());
    this.canvas.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.gestures.hover("");
      this.draw();
    });
  }

  private onWheel(event: WheelEvent, at: Point): void {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey || this.plane.count === 1) {
      this.view = zoomAbout(this.view, Math.exp(-event.deltaY / 300), at, this.width, this.height);
      this.draw();
      return;
    }
    // A mouse wheel clicks by 100 or so, a touchpad sends many small steps.
    this.wheel += event.deltaMode === 1 ? event.deltaY * 40 : event.deltaY;
    const steps = Math.trunc(this.wheel / 40);
    if (steps) {
      this.wheel = 0;
      this.gestures.scroll(Math.abs(event.deltaY) >= 80 ? Math.sign(steps) : steps);
    }
  }

  private onDown(event: PointerEvent, at: Point): void {
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
    const scene = this.scene();
    const point = toSlice(this.matrix(), at);
    if (event.button === 1 || (event.button === 0 && scene.tool === "pan")) this.drag = { kind: "pan", last: at };
    else if (event.button === 2) {
      this.drag = { kind: "window", last: at };
      this.gestures.window(0, 0, true);
    } else if (event.shiftKey) {
      this.drag = { kind: "crosshair", last: at };
      this.gestures.move(point);
    } else if (scene.tool === "brush" || scene.tool === "eraser") {
      const erase = (scene.tool === "eraser") !== event.altKey;
      this.drag = { kind: "stroke", last: point, erase };
      this.gestures.stroke(point, point, erase, this.radius(scene), true);
    } else if (scene.tool === "scribble") this.drag = { kind: "scribble", path: [point], outside: event.altKey };
    else this.drag = { kind: scene.tool === "axes" ? "axes" : "smart", from: point, to: point, screen: at, moved: false, alt: event.altKey };
    this.draw();
  }

  private onMove(at: Point): void {
    this.pointer = at;
    const scene = this.scene();
    const point = toSlice(this.matrix(), at);
    const value = scene.slice && valueAt(scene.slice, ...point);
    this.gestures.hover(value === null ? "" : `x ${Math.round(point[0])}  y ${Math.round(point[1])}  value ${value}`);
    const drag = this.drag;
    if (!drag) {
      if (scene.tool === "brush" || scene.tool === "eraser") this.draw();
      return;
    }
    if ("screen" in drag) {
      drag.to = point;
      drag.moved ||= Math.hypot(at[0] - drag.screen[0], at[1] - drag.screen[1]) > CLICK_PX;
    } else if ("path" in drag) drag.path.push(point);
    else if ("erase" in drag) {
      this.gestures.stroke(drag.last, point, drag.erase, this.radius(scene), false);
      drag.last = point;
    } else {
      const [dx, dy] = [at[0] - drag.last[0], at[1] - drag.last[1]];
      drag.last = at;
      if (drag.kind === "pan") this.view = { ...this.view, pan: [this.view.pan[0] + dx, this.view.pan[1] + dy] };
      else if (drag.kind === "window") this.gestures.window(dx, dy, false);
      else this.gestures.move(point);
    }
    this.draw();
  }

  private onUp(): void {
    const drag = this.drag;
    this.drag = null;
    if (drag?.kind === "smart") {
      const box = drag.moved ? boxBetween(this.plane, drag.from, drag.to) : null;
      if (box) this.gestures.box(box);
      else if (!drag.moved && this.contains(drag.from)) this.gestures.click(drag.from, drag.alt);
    } else if (drag?.kind === "axes" && drag.moved) this.onAxis([drag.from, drag.to]);
    else if (drag?.kind === "stroke") this.gestures.strokeEnd();
    else if (drag?.kind === "scribble") {
      const points = pointsAlong(drag.path.filter((point) => this.contains(point)));
      if (points.length) this.gestures.scribble(points, drag.outside);
    }
    this.draw();
  }

  private onAxis(line: [Point, Point]): void {
    const index = this.scene().index;
    if (this.longAxis && this.longAxisAt === index) {
      const long = this.longAxis;
      this.longAxis = null;
      this.gestures.axes(long, line);
    } else {
      this.longAxis = line;
      this.longAxisAt = index;
    }
  }

  /** Where the pointer is, in slice pixels; null where it is elsewhere. */
  get under(): Point | null {
    return this.pointer && toSlice(this.matrix(), this.pointer);
  }

  private radius(scene: Scene): Point {
    return [Math.max(0.5, scene.brushMm / this.plane.columnMm), Math.max(0.5, scene.brushMm / this.plane.rowMm)];
  }

  private contains([x, y]: Point): boolean {
    return x >= -0.5 && y >= -0.5 && x < this.plane.columns - 0.5 && y < this.plane.rows - 0.5;
  }
}

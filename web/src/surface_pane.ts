/** The objects as surfaces beside the planes: turned by mouse and keys; a click on a surface takes the planes there. */

import { element } from "./dom.ts";
import { otherAxes, type Plane, type Point, type Triple } from "./geometry.ts";
import { SurfacePainter, type Lens, type Line } from "./surface_gl.ts";
import { pick, type Mesh } from "./surfaces.ts";
import { apply, FRONT, turned, type Matrix3, type Vector3 } from "./turning.ts";

export interface SurfaceScene {
  shape: Triple;
  /** Index (z, y, x, 1) to mm (L, P, S, 1). */
  affine: number[][];
  position: Triple;
  plane: Plane;
  /** The saved state whose surfaces are shown; null before the first. */
  state: number | null;
  /** Of the objects that are shown. */
  colors: ReadonlyMap<number, string>;
}

export interface SurfaceActs {
  load(): Promise<ArrayBuffer>;
  /** Take the planes to an index (z, y, x). */
  goTo(index: Vector3): void;
  failed(error: unknown): void;
}

const WORDS = {
  off: "This browser draws no surfaces, because WebGL2 is off. Slices and masks work as before. To see surfaces, turn on hardware acceleration in the browser’s settings, or export STL and open it in another program.",
  none: "Nothing is outlined yet. The surface appears with the first mask.",
  making: "Making the surfaces",
};
const START = turned(turned(FRONT, -0.5, 0), 0, 0.3);
const KEY_TURN = Math.PI / 24;
const CLICK_PX = 4;
const WAIT_MS = 400; // a surface follows once the drawing rests
const TURNS: Record<string, Point> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class SurfacePane {
  readonly root: HTMLElement;
  private readonly canvas = element("canvas", {
    class: "pane-canvas surface-canvas", attributes: { tabindex: 0, role: "application", "aria-label": "Surfaces of the objects. Arrows turn, plus and minus zoom, F fits.", "data-surfaces": "" },
  });
  private readonly letters = element("canvas", { class: "surface-letters", attributes: { "aria-hidden": true } });
  private readonly words = element("div", { class: "surface-words", attributes: { role: "status" } });
  private readonly painter: SurfacePainter | null;
  private readonly scene: () => SurfaceScene;
  private readonly acts: SurfaceActs;
  private meshes: Mesh[] = [];
  private turn: Matrix3 = START;
  private zoom = 1;
  private pan: Point = [0, 0];
  private drag: { last: Point; start: Point; pans: boolean; moved: boolean } | null = null;
  private shown: number | null = null;
  private due: ReturnType<typeof setTimeout> | null = null;
  private scheduled = false;
  private worker: Worker | null = null;
  private bounds: { middle: Vector3; reach: number } | null = null;

  constructor(scene: () => SurfaceScene, acts: SurfaceActs) {
    this.scene = scene;
    this.acts = acts;
    this.painter = SurfacePainter.start(this.canvas);
    this.root = element("div", { class: "pane surface" }, this.canvas, this.letters, this.words);
    if (!this.painter) this.canvas.hidden = true;
    this.say(this.painter ? WORDS.none : WORDS.off);
    new ResizeObserver(() => this.draw()).observe(this.root);
    this.listen();
  }

  /** Look whether the masks changed, and draw. */
  update(): void {
    this.draw();
    if (!this.painter || this.due || this.scene().state === this.shown) return;
    this.due = setTimeout(() => void this.follow(), this.shown === null ? 0 : WAIT_MS);
  }

  close(): void {
    if (this.due) clearTimeout(this.due);
    this.worker?.terminate();
  }

  private async follow(): Promise<void> {
    const state = this.scene().state;
    try {
      if (state === null) this.take([]);
      else {
        if (!this.meshes.length) this.say(WORDS.making);
        this.take(await this.made(await this.acts.load()));
      }
    } catch (error) {
      this.take([]);
      this.acts.failed(error);
    }
    this.shown = state;
    this.due = null;
    this.update(); // what was drawn meanwhile
  }

  private made(file: ArrayBuffer): Promise<Mesh[]> {
    this.worker ??= new Worker(new URL("./surface_worker.ts", import.meta.url), { type: "module" });
    const worker = this.worker;
    return new Promise((resolve, reject) => {
      worker.onmessage = (event: MessageEvent<Mesh[]>) => resolve(event.data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage(file, [file]);
    });
  }

  private take(meshes: Mesh[]): void {
    this.meshes = meshes;
    this.bounds = null;
    this.painter?.show(meshes);
    this.say(meshes.length ? "" : WORDS.none);
    this.canvas.dataset["triangles"] = String(meshes.reduce((sum, mesh) => sum + mesh.indices.length / 3, 0));
    this.draw();
  }

  private say(words: string): void {
    this.words.textContent = words;
  }

  private fit(): void {
    [this.turn, this.zoom, this.pan] = [START, 1, [0, 0]];
    this.draw();
  }

  private draw(): void {
    if (this.scheduled || !this.painter) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.drawNow();
    });
  }

  /** What the eye is on: the objects, or the scan where there are none. */
  private lens(): Lens & { turn: Matrix3 } {
    const { middle, reach } = this.bounds ?? (this.bounds = boundsOf(this.meshes.length ? this.meshes.map((mesh) => mesh.positions) : [Float32Array.from(boxCorners(this.scene()).flat())]));
    const room = Math.min(this.root.clientWidth, this.root.clientHeight) / 2;
    return { turn: this.turn, middle, scale: ((room * 0.8) / reach) * this.zoom, pan: this.pan };
  }

  private drawNow(): void {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.root.clientWidth, this.root.clientHeight];
    if (!width || !height || !this.painter) return;
    for (const canvas of [this.canvas, this.letters]) {
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    }
    const lens = this.lens();
    const scene = this.scene();
    this.painter.draw(this.canvas.width, this.canvas.height, { ...lens, scale: lens.scale * ratio, pan: [lens.pan[0] * ratio, lens.pan[1] * ratio] }, scene.colors, linesOf(scene));
    this.drawLetters(width, height, ratio);
    this.canvas.dataset["turn"] = this.turn.map((value) => value.toFixed(3)).join();
  }

  /** A small cross of directions in the corner. */
  private drawLetters(width: number, height: number, ratio: number): void {
    const context = this.letters.getContext("2d");
    if (!context) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const [x, y] = [46, height - 46];
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    const ends: [string, Vector3][] = [["L", [1, 0, 0]], ["R", [-1, 0, 0]], ["P", [0, 1, 0]], ["A", [0, -1, 0]], ["S", [0, 0, 1]], ["I", [0, 0, -1]]];
    for (const [letter, way] of ends.map(([letter, end]) => [letter, apply(this.turn, end)] as const).sort((one, two) => one[1][2] - two[1][2])) {
      const near = way[2] > -0.3;
      context.strokeStyle = near ? "rgba(244, 244, 242, 0.7)" : "rgba(244, 244, 242, 0.3)";
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + 22 * way[0], y - 22 * way[1]);
      context.stroke();
      context.fillStyle = near ? "#f4f4f2" : "rgba(244, 244, 242, 0.5)";
      context.fillText(letter, x + 32 * way[0], y - 32 * way[1]);
    }
  }

  private listen(): void {
    const { canvas } = this;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      const at: Point = [event.offsetX, event.offsetY];
      this.drag = { last: at, start: at, pans: event.button === 1 || event.button === 2 || event.shiftKey, moved: false };
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => this.onMove([event.offsetX, event.offsetY]));
    canvas.addEventListener("pointerup", () => this.onUp());
    canvas.addEventListener("pointercancel", () => (this.drag = null));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 400));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.onKey(event.key)) return;
      event.preventDefault();
      event.stopPropagation(); // these keys go through slices elsewhere
    });
  }

  private onKey(key: string): boolean {
    const turn = TURNS[key];
    if (turn) this.turnBy(turn[0] * KEY_TURN, turn[1] * KEY_TURN);
    else if (key === "+" || key === "=") this.zoomBy(1.25);
    else if (key === "-") this.zoomBy(0.8);
    else if (key === "f" || key === "Home") this.fit();
    else return false;
    return true;
  }

  private turnBy(right: number, down: number): void {
    this.turn = turned(this.turn, right, down);
    this.draw();
  }

  private zoomBy(factor: number): void {
    this.zoom = Math.min(20, Math.max(0.2, this.zoom * factor));
    this.draw();
  }

  private onMove(at: Point): void {
    const { drag } = this;
    if (!drag) return;
    const [dx, dy] = [at[0] - drag.last[0], at[1] - drag.last[1]];
    drag.last = at;
    drag.moved ||= Math.hypot(at[0] - drag.start[0], at[1] - drag.start[1]) > CLICK_PX;
    if (!drag.moved) return;
    if (drag.pans) this.pan = [this.pan[0] + dx, this.pan[1] + dy];
    else this.turnBy(dx / 150, dy / 150);
    this.draw();
  }

  private onUp(): void {
    const { drag } = this;
    this.drag = null;
    if (!drag || drag.moved) return;
    const lens = this.lens();
    const scene = this.scene();
    const middle = apply(this.turn, lens.middle);
    const x = (drag.start[0] - this.root.clientWidth / 2 - lens.pan[0]) / lens.scale + middle[0];
    const y = (this.root.clientHeight / 2 + lens.pan[1] - drag.start[1]) / lens.scale + middle[1];
    const found = pick(this.meshes.filter((mesh) => scene.colors.has(mesh.label)), this.turn, [x, y]);
    if (found) this.acts.goTo(indexOf(scene.affine, found));
  }
}

/** Index (z, y, x) to mm. */
function place({ affine }: SurfaceScene, index: Vector3): Vector3 {
  return [0, 1, 2].map((row) => index.reduce((sum, value, axis) => sum + value * (affine[row]?.[axis] ?? 0), affine[row]?.[3] ?? 0)) as unknown as Vector3;
}

function indexOf(affine: number[][], mm: Vector3): Vector3 {
  const column = (axis: number): Vector3 => [affine[0]?.[axis] ?? 0, affine[1]?.[axis] ?? 0, affine[2]?.[axis] ?? 0];
  const [a, b, c] = [column(0), column(1), column(2)];
  const away = mm.map((value, row) => value - (affine[row]?.[3] ?? 0)) as unknown as Vector3;
  const size = dot(a, cross(b, c));
  return [dot(away, cross(b, c)) / size, dot(away, cross(c, a)) / size, dot(away, cross(a, b)) / size];
}

function cross([a, b, c]: Vector3, [x, y, z]: Vector3): Vector3 {
  return [b * z - c * y, c * x - a * z, a * y - b * x];
}

function dot([a, b, c]: Vector3, [x, y, z]: Vector3): number {
  return a * x + b * y + c * z;
}

function boundsOf(corners: readonly Float32Array[]): { middle: Vector3; reach: number } {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (const positions of corners) {
    for (let at = 0; at < positions.length; at++) {
      low[at % 3] = Math.min(low[at % 3] as number, positions[at] as number);
      high[at % 3] = Math.max(high[at % 3] as number, positions[at] as number);
    }
  }
  const middle = low.map((value, axis) => (value + (high[axis] as number)) / 2) as unknown as Vector3;
  return { middle, reach: Math.hypot(...low.map((value, axis) => (high[axis] as number) - value)) / 2 || 1 };
}

function boxCorners(scene: SurfaceScene): Vector3[] {
  return [0, 1, 2, 3, 4, 5, 6, 7].map((corner) => place(scene, scene.shape.map((count, axis) => (corner >> axis) & 1 ? count - 0.5 : -0.5) as unknown as Vector3));
}

/** The edges of the scan, and the slice that is looked at. */
function linesOf(scene: SurfaceScene): Line[] {
  const corners = boxCorners(scene);
  const edges: Vector3[] = [];
  corners.forEach((from, at) => [1, 2, 4].forEach((bit) => at & bit || edges.push(from, corners[at | bit] as Vector3)));
  const { axis } = scene.plane;
  const [rows, columns] = otherAxes(axis);
  const round: Vector3[] = [[0, 0], [1, 0], [1, 1], [0, 1]].map(([down, right]) => {
    const index: [number, number, number] = [0, 0, 0];
    index[axis] = scene.position[axis];
    index[rows] = down ? scene.shape[rows] - 0.5 : -0.5;
    index[columns] = right ? scene.shape[columns] - 0.5 : -0.5;
    return place(scene, index);
  });
  const slice = round.flatMap((from, at) => [from, round[(at + 1) % 4] as Vector3]);
  return [
    { points: Float32Array.from(edges.flat()), color: [0.24, 0.29, 0.33, 1] },
    { points: Float32Array.from(slice.flat()), color: [0.47, 0.78, 1, 1] },
  ];
}

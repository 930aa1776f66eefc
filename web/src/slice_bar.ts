/** The bar under the picture: play, all slices of a plane with the model's scores on them, where one is. */

import { button, element, iconButton } from "./dom.ts";
import type { Plane } from "./geometry.ts";
import { lookOf, type SliceScore } from "./review.ts";

export interface SliceBarScene {
  plane: Plane;
  index: number;
  /** Of the active object in this plane. */
  scores: readonly SliceScore[];
  /** Slices that were marked for the whole object. */
  marked: readonly number[];
  playing: boolean;
  perSecond: number;
  color: string;
}

export interface SliceBarActs {
  goTo(index: number): void;
  play(): void;
  speed(perSecond: number): void;
}

export const SPEEDS = [5, 10, 15, 25];
const EDGE = 8; // the first and last slice lie so far from the ends

export class SliceBar {
  readonly root: HTMLElement;
  private readonly strip = element("canvas", { class: "strip", attributes: { tabindex: 0, role: "slider", "aria-label": "Slice" } });
  private readonly playButton: HTMLButtonElement;
  private readonly speedButton: HTMLButtonElement;
  private readonly count = element("span", { class: "strip-count" });
  private readonly scene: () => SliceBarScene;
  private readonly acts: SliceBarActs;
  private scheduled = false;
  private drawn = "";

  constructor(scene: () => SliceBarScene, acts: SliceBarActs) {
    this.scene = scene;
    this.acts = acts;
    this.playButton = iconButton("play", "Play through the slices (Space)", () => acts.play(), "small");
    this.speedButton = button(`${SPEEDS[1]}/s`, () => this.nextSpeed(), { class: "button chip speed", hint: "Slices a second" });
    this.root = element("div", { class: "slice-bar" }, this.playButton, this.speedButton, this.strip, this.count);
    new ResizeObserver(() => this.draw(true)).observe(this.strip);
    this.listen();
  }

  draw(anew = false): void {
    if (anew) this.drawn = "";
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.drawNow();
    });
  }

  private nextSpeed(): void {
    const at = SPEEDS.indexOf(this.scene().perSecond);
    this.acts.speed(SPEEDS[(at + 1) % SPEEDS.length] as number);
  }

  private drawNow(): void {
    const scene = this.scene();
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.strip.clientWidth, this.strip.clientHeight];
    const key = [scene.index, scene.plane.axis, scene.playing, scene.perSecond, scene.color, scene.marked.join("."), scene.scores.map((one) => one.index + one.score).join("."), width, document.documentElement.dataset["theme"]].join("|");
    if (!width || key === this.drawn) return;
    this.drawn = key;
    [this.strip.width, this.strip.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const context = this.strip.getContext("2d");
    if (!context) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.paint(context, scene, width, height);
    this.tell(scene);
  }

  private paint(context: CanvasRenderingContext2D, scene: SliceBarScene, width: number, height: number): void {
    const style = getComputedStyle(this.root);
    const ink = (name: string): string => style.getPropertyValue(name).trim();
    const base = height - 9;
    const step = this.step(scene, width);
    const x = (index: number): number => EDGE + index * step;
    context.fillStyle = ink("--line");
    context.fillRect(EDGE, base, width - 2 * EDGE, 2);
    const looks = { sure: ink("--good"), fair: ink("--warn"), doubtful: ink("--bad") };
    const thick = Math.max(2, Math.min(10, step - 1));
    for (const one of scene.scores) {
      const tall = Math.max(3, (base - 4) * Math.min(1, Math.max(0, one.score)));
      context.fillStyle = looks[lookOf(one.score)];
      context.fillRect(x(one.index) - thick / 2, base - tall, thick, tall);
    }
    context.fillStyle = ink("--text");
    for (const index of scene.marked) {
      context.beginPath();
      context.moveTo(x(index), base + 3);
      context.lineTo(x(index) - 3.5, base + 9);
      context.lineTo(x(index) + 3.5, base + 9);
      context.fill();
    }
    context.fillStyle = ink("--accent");
    context.fillRect(x(scene.index) - 1.5, 1, 3, height - 2);
  }

  private tell(scene: SliceBarScene): void {
    const score = scene.scores.find((one) => one.index === scene.index);
    const words = `${scene.index + 1} of ${scene.plane.count}${score ? `, score ${score.score.toFixed(2)}` : ""}`;
    this.count.textContent = `${scene.index + 1} / ${scene.plane.count}${score ? ` · ${score.score.toFixed(2)}` : ""}`;
    this.strip.title = scene.scores.length ? "Bars are the model’s own scores: green is sure, red is doubtful. Click to go there." : "Click to go to a slice.";
    for (const [name, value] of [["aria-valuemin", 1], ["aria-valuemax", scene.plane.count], ["aria-valuenow", scene.index + 1], ["aria-valuetext", words]] as const) this.strip.setAttribute(name, String(value));
    this.strip.dataset["scored"] = String(scene.scores.length);
    this.speedButton.textContent = `${scene.perSecond}/s`;
    this.playButton.setAttribute("aria-pressed", String(scene.playing));
    this.playButton.setAttribute("aria-label", scene.playing ? "Stop (Space)" : "Play through the slices (Space)");
  }

  private step(scene: SliceBarScene, width: number): number {
    return (width - 2 * EDGE) / Math.max(1, scene.plane.count - 1);
  }

  private listen(): void {
    const go = (event: PointerEvent): void => {
      const scene = this.scene();
      const index = Math.round((event.offsetX - EDGE) / this.step(scene, this.strip.clientWidth));
      this.acts.goTo(Math.min(scene.plane.count - 1, Math.max(0, index)));
    };
    this.strip.addEventListener("pointerdown", (event) => {
      this.strip.setPointerCapture(event.pointerId);
      go(event);
    });
    this.strip.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) go(event);
    });
  }
}

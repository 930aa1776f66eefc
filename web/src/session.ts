/** One open case: where one looks, what the server holds, what was done and not yet acknowledged. Knows no element of the page. */

import * as api from "./case_api.ts";
import type { CaseInfo, CaseState, Head, LabelledObject } from "./case_api.ts";
import { stampLine, type LabelSlice } from "./contours.ts";
import { boxAround, otherAxes, planesOf, type Plane, type Point, type Triple } from "./geometry.ts";
import { samePlace, type Box, type CaseDeed, type EditDeed, type Place } from "./deeds.ts";
import { Drawings, NO_PROMPTS, type Prompts } from "./drawings.ts";
import { freshKey, Outbox, type Sending } from "./outbox.ts";
import type { Drawn } from "./pane_marks.ts";
import { runsWhere, withEdit } from "./label_runs.ts";
import type { SliceScore } from "./review.ts";
import { Sender, type Standing } from "./sender.ts";
import type { SliceImage } from "./slice_image.ts";
import { around, SliceStore } from "./slice_store.ts";
import type { Step } from "./steps_api.ts";
import { inRange, type Range } from "./thresholds.ts";
import { presetsOf, type Windowing } from "./windows.ts";

export interface Listener {
  /** Something on the panes changed. */
  draw(): void;
  /** Something in the panel changed. */
  panel(): void;
  saving(state: Sending, waiting: number): void;
  problem(error: unknown): void;
  /** The model is at work on this slice, or not any more. */
  busy(words: string): void;
}

export class CaseSession implements Standing {
  readonly planes: Plane[];
  readonly slices: SliceStore<SliceImage>;
  readonly labels: SliceStore<LabelSlice>;
  readonly drawings = new Drawings();
  readonly hidden = new Set<number>();
  readonly info: CaseInfo;
  state: CaseState;
  /** How sure the model was of each slice, as the server keeps it with the state. */
  scores: SliceScore[] = [];
  position: Triple;
  direction = 1;
  active = 1;
  opacity = 0.3;
  windowing: Windowing;
  readonly outbox: Outbox<CaseDeed>;
  private readonly listener: Listener;
  private readonly sender = new Sender(this);
  private editing: { place: Place; before: Uint16Array; slice: LabelSlice; changed: boolean } | null = null;
  private shown = new Map<string, { stamp: number; slice: LabelSlice }>();
  private stamp = 0;

  constructor(info: CaseInfo, state: CaseState, listener: Listener) {
    this.info = info;
    this.state = state;
    this.listener = listener;
    this.planes = planesOf({ shape: info.shape, spacing: info.spacing, affine: info.affine });
    this.position = info.shape.map((count) => Math.floor(count / 2)) as Triple;
    this.windowing = { level: (info.range[0] + info.range[1]) / 2, width: Math.max(info.range[1] - info.range[0], 1e-6), invert: false };
    this.active = state.objects[0]?.label ?? 1;
    const failed = (error: unknown): void => listener.problem(error);
    this.slices = new SliceStore<SliceImage>(
      { load: (axis, index, signal) => api.loadSlice(info, axis, index, signal), bytesOf: (slice) => slice.values.byteLength },
      () => listener.draw(), failed,
    );
    this.labels = new SliceStore<LabelSlice>(
      { load: (axis, index, signal) => this.loadLabels(axis, index, signal), bytesOf: (slice) => slice.labels.byteLength },
      () => { this.stamp++; listener.draw(); }, failed, 64 * 1024 * 1024,
    );
    this.outbox = new Outbox<CaseDeed>(
      window.localStorage, `medsam-outbox-${info.id}`, (deed) => this.sender.send(deed),
      (sending, waiting) => listener.saving(sending, waiting.length), (deed, error) => this.onRefused(deed, error),
    );
    this.replaceDrawings();
    this.outbox.start();
  }

  /** Take over what another page of the same person did, when nothing of this one waits. */
  async follow(): Promise<void> {
    if (this.outbox.waiting.length || this.editing) return;
    const [version, objects] = await Promise.all([api.loadVersion(this.info), api.loadObjects(this.info)]);
    if (this.outbox.waiting.length) return;
    if (version !== this.state.version) this.replaceState(await api.loadState(this.info));
    else if (JSON.stringify(objects) !== JSON.stringify(this.state.objects)) {
      this.state = { ...this.state, objects };
      this.listener.panel();
      this.listener.draw();
    }
  }

  get lockedObjects(): ReadonlySet<number> {
    return new Set(this.state.objects.filter((item) => item.locked).map((item) => item.label));
  }

  /** Whether the active object may be changed; says why where it may not. */
  get free(): boolean {
    const locked = this.lockedObjects.has(this.active);
    if (locked) this.say("The object is locked; Shift + L unlocks it");
    return !locked;
  }

  /** Objects that are locked, for what the server does. */
  get kept(): number[] {
    return [...this.lockedObjects].sort((one, two) => one - two);
  }

  get labelsVersion(): string {
    return `${this.state.version}.${this.stamp}`;
  }

  get presets() {
    return presetsOf(this.info.modality, ...this.info.range);
  }

  close(): void {
    this.outbox.close();
    this.slices.want([]);
    this.labels.want([]);
  }

  /** Ask for what the shown planes need. */
  need(planes: Plane[]): void {
    const wanted: [number, number][] = planes.map((plane) => [plane.axis, this.position[plane.axis]]);
    const here = [...wanted];
    for (const plane of planes) {
      for (const index of around(this.position[plane.axis], plane.count, this.direction)) wanted.push([plane.axis, index]);
    }
    this.slices.want(wanted);
    if (this.state.revision !== null) this.labels.want([...here, ...planes.flatMap((plane) => around(this.position[plane.axis], plane.count, this.direction, 4, 2).map((index): [number, number] => [plane.axis, index]))]);
  }

  /** The mask of the slice that a plane shows, with what was drawn on it and not yet acknowledged; null while it is loaded. */
  labelsAt(plane: Plane): LabelSlice | null {
    const place = { axis: plane.axis, index: this.position[plane.axis] };
    if (this.editing && samePlace(this.editing.place, place)) return this.editing.slice;
    const known = this.state.revision === null ? emptySlice(plane) : this.labels.get(place.axis, place.index);
    const edits = this.outbox.waiting.filter((deed) => deed.kind === "edit" && samePlace(deed, place)) as EditDeed[];
    if (!known || !edits.length) return known;
    const key = `${place.axis}/${place.index}`;
    const before = this.shown.get(key);
    if (before?.stamp === this.stamp) return before.slice;
    const slice = { ...known, labels: edits.reduce((labels, deed) => withEdit(labels, deed), known.labels) };
    this.shown = new Map([[key, { stamp: this.stamp, slice }]]);
    return slice;
  }

  colorOf(label: number): string {
    return this.state.objects.find((item) => item.label === label)?.color ?? api.paletteColor(label);
  }

  get colors(): Map<number, string> {
    return new Map([...this.state.objects.map((item) => item.label), this.active].map((label) => [label, this.colorOf(label)]));
  }

  drawnOn(plane: Plane): Drawn[] {
    return this.drawings.on({ axis: plane.axis, index: this.position[plane.axis] }, this.active, (label) => this.colorOf(label));
  }

  scroll(plane: Plane, steps: number): void {
    this.goTo(plane, this.position[plane.axis] + steps);
  }

  goTo(plane: Plane, index: number): void {
    const next = Math.min(plane.count - 1, Math.max(0, Math.round(index)));
    this.direction = next - this.position[plane.axis] || this.direction;
    this.position[plane.axis] = next;
    this.listener.draw();
  }

  /** Put the crosshair on a point of a plane. */
  moveTo(plane: Plane, [x, y]: Point): void {
    const [rowAxis, columnAxis] = otherAxes(plane.axis);
    const bounded = (value: number, axis: 0 | 1 | 2): number => Math.min(this.info.shape[axis] - 1, Math.max(0, Math.round(value)));
    this.position[rowAxis] = bounded(y, rowAxis);
    this.position[columnAxis] = bounded(x, columnAxis);
    this.listener.draw();
  }

  /** Put the crosshair on a voxel, in all planes. */
  moveAll(index: readonly [number, number, number]): void {
    this.position = index.map((value, axis) => Math.min((this.info.shape[axis] as number) - 1, Math.max(0, Math.round(value)))) as Triple;
    this.listener.draw();
  }

  crosshair(plane: Plane): Point {
    const [rowAxis, columnAxis] = otherAxes(plane.axis);
    return [this.position[columnAxis], this.position[rowAxis]];
  }

  box(plane: Plane, box: Box): void {
    this.setPrompts(plane, { ...NO_PROMPTS, box });
  }

  /** A click, or the points of a scribble; they refine what was drawn on this slice before. */
  points(plane: Plane, points: Point[], outside: boolean): void {
    const before = this.drawings.prompts({ label: this.active, axis: plane.axis, index: this.position[plane.axis] }) ?? NO_PROMPTS;
    const more = points.map(([x, y]): Point => [Math.round(x * 100) / 100, Math.round(y * 100) / 100]);
    this.setPrompts(plane, { ...before, points: [...before.points, ...more], inside: [...before.inside, ...more.map(() => !outside)] });
  }

  private setPrompts(plane: Plane, prompts: Prompts): void {
    if (!this.free) return;
    const place = { axis: plane.axis, index: this.position[plane.axis] };
    this.ensureObject(this.active);
    this.drawings.set({ ...place, label: this.active }, prompts);
    this.redraw();
    this.outbox.push({ kind: "prompt", key: freshKey(), label: this.active, ...place, ...prompts, kept: this.kept.filter((label) => label !== this.active) });
    if (this.isDrawn(plane)) this.listener.busy("You drew this slice by hand, so the model leaves it alone. Shift + R lets the model have it.");
  }

  /** Whether the active object was drawn by hand on the slice that a plane shows. */
  isDrawn(plane: Plane): boolean {
    return (this.state.drawn[this.active]?.[plane.axis] ?? []).includes(this.position[plane.axis]);
  }

  /** Long and short axis of the active object on this slice; they mark it for the 3D job and prompt this slice by their box. */
  axes(plane: Plane, long: [Point, Point], short: [Point, Point] | null): void {
    const ends = [...long, ...(short ?? [])];
    const box = boxAround(plane, ends);
    if (box) this.setPrompts(plane, { box, points: [], inside: [], axes: ends });
  }

  /** Paint or erase; the pixels change at once, the server gets the change when the stroke ends. */
  stroke(plane: Plane, from: Point, to: Point, erase: boolean, radius: Point, range: Range | null = null): void {
    const place = { axis: plane.axis, index: this.position[plane.axis] };
    if (this.editing && !samePlace(this.editing.place, place)) this.strokeEnd();
    if (!this.editing) {
      if (!this.free) return;
      const now = this.labelsAt(plane);
      if (!now) return; // its mask is still on its way
      this.editing = { place, before: now.labels, slice: { ...now, labels: now.labels.slice() }, changed: false };
    }
    if (stampLine(this.editing.slice, this.active, from, to, radius, { erase, kept: this.lockedObjects, allowed: range && inRange(this.slices.get(place.axis, place.index), range) })) {
      this.editing.changed = true;
      this.stamp++;
      this.listener.draw();
    }
  }

  strokeEnd(): void {
    const edit = this.editing;
    this.editing = null;
    if (edit?.changed) this.pushEdit(edit.place, edit.before, edit.slice.labels);
  }

  /** Clear the active object from this slice. */
  clearSlice(plane: Plane): void {
    const now = this.labelsAt(plane);
    if (!now?.labels.includes(this.active) || !this.free) return;
    const place = { axis: plane.axis, index: this.position[plane.axis] };
    this.drawings.forget({ label: this.active, ...place });
    this.pushEdit(place, now.labels, now.labels.map((label) => (label === this.active ? 0 : label)));
  }

  private pushEdit(place: Place, before: Uint16Array, after: Uint16Array): void {
    const label = this.active;
    this.ensureObject(label);
    const painted = runsWhere(after.length, (at) => after[at] === label && before[at] !== label);
    const erased = runsWhere(after.length, (at) => after[at] !== label && before[at] === label);
    this.stamp++;
    this.outbox.push({ kind: "edit", key: freshKey(), label, ...place, painted, erased });
    this.listener.draw();
  }

  /** Tell the person something, over the picture. */
  say(words: string): void {
    this.listener.busy(words);
  }

  /** Let the server change the mask or its objects; one step of undo. */
  step(step: Step, idle = ""): void {
    this.outbox.push({ kind: "step", key: freshKey(), step, kept: this.kept, idle });
  }

  /** Rename an object, or give it another colour or code; one step of undo. */
  describe(object: LabelledObject): void {
    this.showObject(object);
    this.step({ step: "describe", object: { label: object.label, name: object.name, color: api.rgb(object.color), code: object.code } });
  }

  undo(): void {
    this.outbox.push({ kind: "undo", key: freshKey() });
  }

  redo(): void {
    this.outbox.push({ kind: "redo", key: freshKey() });
  }

  private setObject(object: LabelledObject): void {
    this.showObject(object);
    this.outbox.push({ kind: "object", key: freshKey(), object });
  }

  private showObject(object: LabelledObject): void {
    const others = this.state.objects.filter((item) => item.label !== object.label);
    this.state = { ...this.state, objects: [...others, object].sort((one, two) => one.label - two.label) };
    this.redraw();
  }

  addObject(): void {
    const label = Math.max(0, ...this.state.objects.map((item) => item.label)) + 1;
    this.active = label;
    this.ensureObject(label);
  }

  private ensureObject(label: number): void {
    if (this.state.objects.some((item) => item.label === label)) return;
    this.setObject({ label, name: `Object ${label}`, color: api.paletteColor(label), code: null, locked: false });
  }

  toggleHidden(label: number): void {
    if (!this.hidden.delete(label)) this.hidden.add(label);
    this.redraw();
  }

  /** Hide every object, or show all again. */
  toggleHiddenAll(): void {
    if (this.hidden.size) this.hidden.clear();
    else for (const item of this.state.objects) this.hidden.add(item.label);
    this.redraw();
  }

  private redraw(): void {
    this.listener.panel();
    this.listener.draw();
  }

  toggleLocked(label: number): void {
    this.ensureObject(label);
    const locked = !this.lockedObjects.has(label);
    this.state = { ...this.state, objects: this.state.objects.map((item) => (item.label === label ? { ...item, locked } : item)) };
    this.outbox.push({ kind: "lock", key: freshKey(), label, locked });
    this.listener.panel();
  }

  activate(label: number, rebuild = true): void {
    this.active = label;
    this.hidden.delete(label);
    if (rebuild) this.listener.panel();
    this.listener.draw();
  }

  /** The server holds another state now, as after a job: forget every mask slice and fetch anew. */
  replaceState(state: CaseState): void {
    this.state = state;
    this.replaceDrawings();
    this.labels.clear();
    this.stamp++;
    this.redraw();
  }

  /** A step of the server's may have taken objects away. */
  stepped(state: CaseState): void {
    this.replaceState(state);
    if (!state.objects.some((item) => item.label === this.active)) this.active = state.objects[0]?.label ?? 1;
  }

  async heldLabels({ axis, index }: Place): Promise<LabelSlice> {
    return (this.state.revision === null ? null : this.labels.get(axis, index)) ?? this.loadLabels(axis, index);
  }

  remember(): void {
    this.outbox.remember();
  }

  private async loadLabels(axis: number, index: number, signal?: AbortSignal): Promise<LabelSlice> {
    if (this.state.revision === null) return emptySlice(this.planes.find((item) => item.axis === axis) as Plane);
    return api.loadLabels(this.info, this.state.revision, axis, index, signal);
  }

  /** A new state whose mask differs in one slice of one plane: that slice is known at once, the others of this plane stay. */
  take(state: Head, place: Place, change: (labels: Uint16Array) => Uint16Array, certain = false): void {
    const plane = this.planes.find((item) => item.axis === place.axis) as Plane;
    const known = this.state.revision === null ? emptySlice(plane) : this.labels.get(place.axis, place.index);
    this.state = { ...this.state, ...state };
    this.stamp++;
    // Where slices drawn by hand are kept from the model, only the server knows what came of it.
    const sure = known !== null && (certain || !(Object.keys(state.drawn).length || this.lockedObjects.size));
    if (sure) this.labels.set(place.axis, place.index, { ...known, labels: change(known.labels) });
    this.labels.forget((axis, index) => axis !== place.axis || (index === place.index && !sure));
    this.redraw();
  }

  /** What the server knows was drawn, and what waits for it. */
  private replaceDrawings(): void {
    this.drawings.replace(this.state.prompts);
    for (const deed of this.outbox.waiting) if (deed.kind === "prompt") this.drawings.set(deed, deed);
  }

  private onRefused(deed: CaseDeed, error: unknown): void {
    if (deed.kind === "prompt") this.drawings.forget(deed);
    this.stamp++;
    this.listener.problem(error);
    this.listener.draw();
  }
}

function emptySlice(plane: Plane): LabelSlice {
  return { rows: plane.rows, columns: plane.columns, labels: new Uint16Array(plane.rows * plane.columns) };
}

/** A case as the page thinks of it: the wire's forms turned into slices, masks and states, and back. */

import { AwayError, json, Refused, request, type CaseDetails, type CaseView, type HeadView, type JobView, type MeasurementView, type MoveView, type ObjectView, type PromptIn, type PromptOut, type PromptView, type ScoreView, type SliceMask, type Status, type WorkerView } from "./api.ts";
import type { Marker } from "./drawings.ts";
import type { Point, Triple } from "./geometry.ts";
import { redoable } from "./history.ts";
import type { SliceScore } from "./review.ts";
import type { LabelSlice } from "./contours.ts";
import type { GreyValues, SliceImage } from "./slice_image.ts";

export interface CaseInfo {
  id: string;
  title: string;
  shape: Triple;
  spacing: Triple | null;
  affine: number[][] | null;
  modality: string | null;
  rgb: boolean;
  status: Status;
  /** Whether there is an archive to store masks in. */
  pacs: boolean;
  /** The stored values that the model sees as black and white. */
  range: [number, number];
  /** The server's name of the plane along each array axis. */
  planes: string[];
}

type CaseId = Pick<CaseInfo, "id">;

export interface LabelledObject {
  label: number;
  name: string;
  color: string;
  code: [string, string, string] | null;
  /** Nothing changes it, whoever opens the case. */
  locked: boolean;
}

/** Where one stands, as the server answers each change. */
export interface Head {
  /** In whose line of states one works. */
  annotator: string;
  version: number;
  revision: number | null;
  canUndo: boolean;
  canRedo: boolean;
  /** Slices drawn by hand, which the model leaves alone: label to array axis to slices. */
  drawn: Record<number, Record<number, number[]>>;
}

export interface CaseState extends Head {
  objects: LabelledObject[];
  /** What was drawn for the model. */
  prompts: Marker[];
}

export interface Measured {
  label: number;
  voxels: number;
  volumeMl: number | null;
  long: number | null;
  short: number | null;
  unit: "mm" | "px";
  /** Of the scan's values inside it; null for colour pictures. */
  mean: number | null;
  spread: number | null;
  /** Null where the scan is no CT. */
  valueUnit: "HU" | null;
}

const PLACED = new Set(["CT", "MR", "PET"]);

// The colours of medsam.imaging.palette, in its order.
const PALETTE = [
  "#e6194b", "#3cb44b", "#ffe119", "#0082c8", "#f58230", "#911eb4", "#46f0f0", "#f032e6", "#d2f53c", "#fabed4", "#008080", "#dcbeff",
  "#aa6e28", "#aaffc3", "#808000", "#ffd7b4",
];

export function paletteColor(label: number): string {
  return PALETTE[(label - 1) % PALETTE.length] as string;
}

export async function listCases(): Promise<CaseView[]> {
  return json<CaseView[]>("GET", "/cases");
}

export async function loadCase(id: string): Promise<CaseInfo> {
  const found = await json<CaseDetails>("GET", `/cases/${id}`);
  const planes: string[] = [];
  for (const [name, plane] of Object.entries(found.planes)) if (plane && planes[plane.axis] === undefined) planes[plane.axis] = name;
  return {
    id, title: titleOf(found), shape: found.shape, spacing: found.planes.stored?.spacing_mm ?? null,
    affine: found.shape[0] > 1 || PLACED.has(found.modality ?? "") ? found.affine : null,
    modality: found.modality, rgb: found.rgb, status: found.status, pacs: found.pacs, range: found.window ?? (found.modality === "CT" ? [-160, 240] : [0, 255]), planes,
  };
}

export function titleOf(item: { number: number }): string {
  return `Case ${item.number}`;
}

export function sizeOf([depth, rows, columns]: readonly [number, number, number]): string {
  return depth === 1 ? `${columns} × ${rows}` : `${columns} × ${rows} × ${depth}`;
}

async function headOf(info: CaseId): Promise<HeadView> {
  return json<HeadView>("GET", `/cases/${info.id}/head`);
}

export async function loadState(info: CaseId): Promise<CaseState> {
  const [head, moves, objects, prompts] = await Promise.all([
    headOf(info), json<MoveView[]>("GET", `/cases/${info.id}/history`), loadObjects(info), json<PromptView[]>("GET", `/cases/${info.id}/prompts`),
  ]);
  return { ...stateOf(head, redoable(moves.filter((move) => move.annotator === head.annotator))), objects, prompts: prompts.map(markerOf) };
}

export async function loadObjects(info: CaseId): Promise<LabelledObject[]> {
  return (await json<ObjectView[]>("GET", `/cases/${info.id}/objects`)).map(fromWire);
}

function markerOf({ label, axis, slice, box, points, point_labels, axes }: PromptView): Marker {
  return { label, axis, index: slice, box, points, inside: point_labels.map(Boolean), axes };
}

/** The version alone, to see whether somebody else's page moved on. */
export async function loadVersion(info: CaseInfo): Promise<number> {
  return (await headOf(info)).version;
}

function stateOf(head: HeadView, canRedo: boolean): Head {
  return { annotator: head.annotator, version: head.version, revision: head.revision, canUndo: head.revision !== null, canRedo, drawn: head.drawn };
}

function fromWire(item: ObjectView): LabelledObject {
  return { label: item.label, name: item.name || `Object ${item.label}`, color: item.color ? hex(item.color) : paletteColor(item.label), code: item.code, locked: item.locked };
}

function hex(color: readonly number[]): string {
  return `#${color.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

const ARRAYS = { u1: Uint8Array, i1: Int8Array, "<u2": Uint16Array, "<i2": Int16Array, "<u4": Uint32Array, "<i4": Int32Array, "<f4": Float32Array } as const;

async function arrayOf(answer: Response): Promise<{ values: GreyValues; shape: number[] }> {
  const kind = ARRAYS[(answer.headers.get("X-Dtype") ?? "") as keyof typeof ARRAYS];
  const shape = (answer.headers.get("X-Shape") ?? "").split(",").map(Number);
  const bytes = await answer.arrayBuffer();
  if (!kind || shape.length < 2 || bytes.byteLength !== kind.BYTES_PER_ELEMENT * shape.reduce((one, two) => one * two)) {
    throw new Error("a slice that is not what its headers say");
  }
  return { values: new kind(bytes), shape };
}

export async function loadSlice(info: CaseInfo, axis: number, index: number, signal: AbortSignal): Promise<SliceImage> {
  const { values, shape } = await arrayOf(await request("GET", `/cases/${info.id}/slices/${info.planes[axis]}/${index}`, undefined, {}, signal));
  const [rows, columns] = shape as [number, number];
  return { kind: shape[2] === 3 ? "color" : "grey", rows, columns, values };
}

export async function loadLabels(info: CaseInfo, revision: number | null, axis: number, index: number, signal?: AbortSignal): Promise<LabelSlice> {
  const path = `/cases/${info.id}/mask/${info.planes[axis]}/${index}?revision=${revision}`;
  const { values, shape } = await arrayOf(await request("GET", path, undefined, {}, signal));
  return { rows: shape[0] as number, columns: shape[1] as number, labels: values instanceof Uint16Array ? values : Uint16Array.from(values) };
}

export interface Drawing {
  axis: number;
  index: number;
  label: number;
  box: number[] | null;
  points: Point[];
  inside: boolean[];
  axes: Point[];
  kept: number[];
}

export function seen(version: number): Record<string, string> {
  return { "If-Match": `"v${version}"` };
}

/** Ask the model for one object on one slice, and save its answer. */
export async function sendPrompt(info: CaseInfo, version: number, drawing: Drawing): Promise<{ state: Head; mask: SliceMask; score: number }> {
  const body: PromptIn = {
    plane: info.planes[drawing.axis] as string, slice: drawing.index, label: drawing.label, box: drawing.box,
    points: drawing.points, point_labels: drawing.inside.map(Number), axes: drawing.axes, save: true, release: false, kept: drawing.kept,
  };
  const answer = await json<PromptOut>("POST", `/cases/${info.id}/prompts`, body, seen(version));
  if (!answer.head) throw new Error("the server did not save the mask");
  return { state: stateOf(answer.head, false), mask: answer.mask, score: answer.score };
}

/** Save a slice drawn by hand. */
export async function sendEdit(info: CaseInfo, version: number, place: { axis: number; index: number }, labels: Uint16Array): Promise<Head> {
  const bytes = new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength);
  const headers = { ...seen(version), "Content-Type": "application/octet-stream" };
  const answer = await request("PUT", `/cases/${info.id}/mask/${info.planes[place.axis]}/${place.index}?dtype=<u2`.replace("<", "%3C"), bytes, headers);
  return stateOf((await answer.json()) as HeadView, false);
}

export async function sendMove(info: CaseInfo, version: number, move: "undo" | "redo"): Promise<CaseState> {
  await json<HeadView>("POST", `/cases/${info.id}/${move}`, undefined, seen(version));
  return loadState(info);
}

export async function saveObject(info: CaseInfo, item: LabelledObject): Promise<void> {
  await request("PUT", `/cases/${info.id}/objects/${item.label}`, { label: item.label, name: item.name, color: rgb(item.color), code: item.code });
}

export async function lockObject(info: CaseInfo, label: number, locked: boolean): Promise<void> {
  await request("PATCH", `/cases/${info.id}/objects/${label}`, { locked });
}

/** Say that one is in the case still; who works in it now. */
export async function stay(info: CaseInfo): Promise<WorkerView[]> {
  return json<WorkerView[]>("PUT", `/cases/${info.id}/presence`);
}

export async function leave(info: CaseInfo): Promise<void> {
  await request("DELETE", `/cases/${info.id}/presence`);
}

/** Red, green and blue of a hex colour, 0 to 255. */
export function rgb(color: string): [number, number, number] {
  return [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16)) as [number, number, number];
}

export async function setStatus(info: CaseInfo, status: Status): Promise<void> {
  await request("PUT", `/cases/${info.id}/status`, { status });
}

/** How a job ended; neighbours were carried to the slices from one to the other. */
export interface JobEnd {
  state: "done" | "cancelled";
  reached: [number, number] | null;
}

export interface Job {
  finished: Promise<JobEnd>;
  stop(): Promise<void>;
}

export interface Mark {
  index: number;
  box: number[] | null;
  axes: Point[];
}

/** Outline an object through the marked slices of one plane: from its axes where every mark has them, else from its boxes. */
export function outlineJob(info: CaseInfo, label: number, axis: number, marks: Mark[], kept: number[]): object {
  const byAxes = marks.every((mark) => mark.axes.length >= 2);
  return {
    plane: info.planes[axis], interpolate: !byAxes, kept,
    ...(byAxes
      ? { markers: marks.map((mark) => ({ label, slice: mark.index, points: mark.axes })) }
      : { prompts: marks.map((mark) => ({ label, slice: mark.index, box: mark.box })) }),
  };
}

/** Let the model make a whole object. */
export async function startJob(info: CaseInfo, version: number, body: object, moved: (done: number, total: number) => void): Promise<Job> {
  const job = await json<JobView>("POST", `/cases/${info.id}/jobs`, body, seen(version));
  const path = `/cases/${info.id}/jobs/${job.id}`;
  return { finished: follow(path, moved), stop: async () => void (await request("DELETE", path)) };
}

function follow(path: string, moved: (done: number, total: number) => void): Promise<JobEnd> {
  return new Promise((resolve, reject) => {
    const events = new EventSource(`api/v1${path}/events`);
    const listen = (event: MessageEvent<string>): void => {
      const view = JSON.parse(event.data) as JobView;
      moved(view.done, view.total);
      if (view.state === "waiting" || view.state === "running") return;
      events.close();
      if (view.state === "failed") reject(new Refused(422, view.problem));
      else resolve({ state: view.state, reached: view.reached });
    };
    for (const state of ["waiting", "running", "done", "failed", "cancelled"]) events.addEventListener(state, listen);
    events.onerror = () => {
      if (events.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      reject(new AwayError("the server went away while it outlined the object"));
    };
  });
}

/** Sizes of the objects and the values in them; none where nothing is drawn. */
export async function measure(info: CaseInfo): Promise<Measured[]> {
  const rows = await json<MeasurementView[]>("GET", `/cases/${info.id}/measurements`);
  return rows.map((row) => ({
    label: row.label, voxels: row.voxels, volumeMl: row.volume_ml, long: row.long_axis_mm ?? row.long_axis_px, short: row.short_axis_mm ?? row.short_axis_px,
    unit: row.long_axis_mm === null ? "px" : "mm", mean: row.mean, spread: row.spread, valueUnit: row.unit,
  }));
}

/** How sure the model was of each slice of the state that one stands at. */
export async function loadScores(info: CaseInfo): Promise<SliceScore[]> {
  const rows = await json<ScoreView[]>("GET", `/cases/${info.id}/scores`);
  return rows.map((row) => ({ label: row.label, axis: row.axis, index: row.slice, score: row.score }));
}

/** Say that a slice is looked at; whether it is embedded already. */
export async function lookAt(info: CaseInfo, axis: number, index: number): Promise<boolean> {
  return (await json<{ embedded: boolean }>("POST", `/cases/${info.id}/embeddings`, { plane: info.planes[axis], slice: index })).embedded;
}

export async function isEmbedded(info: CaseInfo, axis: number, index: number): Promise<boolean> {
  return (await json<{ embedded: boolean }>("GET", `/cases/${info.id}/embeddings/${info.planes[axis]}/${index}`)).embedded;
}

export async function recordActivity(info: CaseInfo, events: { phase: string; ago: number }[]): Promise<void> {
  await request("POST", `/cases/${info.id}/activity`, { events });
}

/** The surfaces of all objects as one binary STL, in mm. */
export async function loadSurfaces(info: CaseInfo): Promise<ArrayBuffer> {
  return (await request("GET", `/cases/${info.id}/export?format=stl`)).arrayBuffer();
}

export interface ExportFormat {
  name: string;
  format: string;
  use: string;
}

/** Store the mask in the archive; how many objects that is. */
export async function storeMask(info: CaseInfo, format: ExportFormat): Promise<number> {
  return (await json<{ instances: string[] }>("POST", `/cases/${info.id}/store?format=${format.format}`)).instances.length;
}

export async function exportMask(info: CaseInfo, format: ExportFormat): Promise<void> {
  const answer = await request("GET", `/cases/${info.id}/export?format=${encodeURIComponent(format.format)}`);
  const name = /filename="?([^";]+)/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? "mask";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

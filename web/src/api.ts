/** The server's /api/v1 in types: every request of the page is made here, and nothing else knows addresses or wire forms. */

import { AwayError } from "./outbox.ts";
import type { Told } from "./notes.ts";

export { AwayError };

export type Status = "new" | "in work" | "done" | "reviewed";
type PlaneWord = "stored" | "axial" | "coronal" | "sagittal";

/** Somebody who works in a case now. */
export interface WorkerView {
  annotator: string;
  idle_seconds: number;
}

export interface CaseView {
  id: string;
  number: number;
  shape: [number, number, number];
  status: Status;
  working: WorkerView[];
}

interface PlaneView {
  axis: number;
  slices: number;
  height: number;
  width: number;
  spacing_mm: [number, number, number] | null;
}

export interface CaseDetails extends CaseView {
  modality: string | null;
  rgb: boolean;
  window: [number, number] | null;
  affine: number[][];
  planes: Partial<Record<PlaneWord, PlaneView>>;
  annotators: string[];
  pacs: boolean;
}

export interface HeadView {
  annotator: string;
  version: number;
  revision: number | null;
  kind: string | null;
  at: number | null;
  locked: Record<string, number[]>;
  drawn: Record<number, Record<number, number[]>>;
}

export interface MoveView {
  annotator: string;
  kind: "save" | "undo" | "redo";
  revision: number | null;
  at: number;
}

export interface ObjectView {
  label: number;
  name: string;
  color: [number, number, number] | null;
  code: [string, string, string] | null;
  locked: boolean;
}

/** What was drawn for an object on a slice, as the server keeps it. */
export interface PromptView {
  label: number;
  axis: number;
  slice: number;
  box: [number, number, number, number] | null;
  points: [number, number][];
  point_labels: number[];
  axes: [number, number][];
}

export interface SliceMask {
  height: number;
  width: number;
  runs: number[];
}

export interface PromptIn {
  plane: string;
  slice: number;
  label: number;
  box: number[] | null;
  points: number[][];
  point_labels: number[];
  axes: number[][];
  save: boolean;
  release: boolean;
  kept: number[];
}

export interface PromptOut {
  mask: SliceMask;
  score: number;
  seconds: Record<string, number>;
  head: HeadView | null;
}

export interface ScoreView {
  label: number;
  axis: number;
  slice: number;
  score: number;
}

export interface JobView {
  id: string;
  state: "waiting" | "running" | "done" | "failed" | "cancelled";
  done: number;
  total: number;
  head: HeadView | null;
  problem: Problem | null;
  /** First and last slice that neighbours were carried to. */
  reached: [number, number] | null;
}

export interface MeasurementView {
  label: number;
  name: string | null;
  voxels: number;
  volume_ml: number | null;
  long_axis_mm: number | null;
  short_axis_mm: number | null;
  long_axis_px: number | null;
  short_axis_px: number | null;
  mean: number | null;
  spread: number | null;
  unit: "HU" | null;
  slice: number;
}

interface Problem {
  error: string;
  got: string;
  expected: string;
  fix: string;
}

/** What the server refused, in its words. */
export class Refused extends Error {
  readonly status: number;
  readonly problem: Problem | null;

  constructor(status: number, problem: Problem | null) {
    super(problem?.got ?? `answer ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

/** What an error says to a person. */
export function inWords(error: unknown): Told {
  if (error instanceof AwayError) return { title: "The server does not answer", detail: "What you draw is kept here and sent when it is back." };
  if (error instanceof Refused && error.status === 401) {
    return { title: "This page was opened without its token", detail: "Open the address that medsam open or medsam serve printed." };
  }
  if (error instanceof Refused && error.problem) {
    const { got, expected, fix } = error.problem;
    return { title: sentence(got), detail: `Needed: ${expected}. ${sentence(fix)}.` };
  }
  return { title: "Something in the page failed", detail: error instanceof Error ? error.message : "" };
}

function sentence(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const AWAY = new Set([429, 502, 503, 504]);

/** One request; AwayError where nobody answers or the server asks to come again, Refused where it says no. */
export async function request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}, signal?: AbortSignal | undefined): Promise<Response> {
  const raw = body instanceof Uint8Array || body instanceof Blob;
  const init: RequestInit = { method, headers: { ...headers, ...(body !== undefined && !raw ? { "Content-Type": "application/json" } : {}) } };
  if (body !== undefined) init.body = raw ? (body as BodyInit) : JSON.stringify(body);
  if (signal) init.signal = signal;
  let answer: Response;
  try {
    answer = await fetch(`api/v1${path}`, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new AwayError("the server does not answer");
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  if (AWAY.has(answer.status)) throw new AwayError("the server asks to come again");
  throw new Refused(answer.status, problemIn(text));
}

export async function json<T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  return (await (await request(method, path, body, headers)).json()) as T;
}

function problemIn(text: string): Problem | null {
  try {
    const found = JSON.parse(text) as Partial<Problem>;
    return typeof found.got === "string" && typeof found.fix === "string" ? (found as Problem) : null;
  } catch {
    return null;
  }
}

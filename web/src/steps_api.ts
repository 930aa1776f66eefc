/** Steps, versions, comparisons and coded terms of /api/v1, as the page thinks of them. */

import { json, type HeadView, type MoveView } from "./api.ts";
import { seen, type CaseInfo } from "./case_api.ts";

export type Reshaping = "fill" | "largest" | "smooth" | "grow" | "shrink";
export type Coded = [string, string, string];

export type Step =
  | { step: "reshape"; label: number; how: Reshaping; by?: number; plane?: string; slice?: number }
  | { step: "interpolate"; label: number; plane: string; first: number; last: number }
  | { step: "merge"; label: number; into: number }
  | { step: "delete"; label: number }
  | { step: "describe"; object: { label: number; name: string; color: [number, number, number]; code: Coded | null } }
  | { step: "release"; label: number; plane: string; slice: number }
  | { step: "take"; revision: number; label?: number };

/** Voxels that a step changed; one that changes nothing is not saved. */
export async function sendStep(info: CaseInfo, version: number, step: Step, kept: number[]): Promise<number> {
  const answer = await json<{ head: HeadView; changed: number }>("POST", `/cases/${info.id}/steps`, { do: step, kept }, seen(version));
  return answer.changed;
}

/** A state of the case that one's own mask can be held against. */
export interface Version {
  annotator: string;
  revision: number;
  at: number;
  mine: boolean;
}

/** Where the other annotators stand, and one's own state before this one. */
export async function loadVersions(info: CaseInfo): Promise<Version[]> {
  const [head, moves] = await Promise.all([json<HeadView>("GET", `/cases/${info.id}/head`), json<MoveView[]>("GET", `/cases/${info.id}/history`)]);
  return versionsOf(moves, head.annotator, head.revision);
}

/** The last state of each other annotator, by name, then one's own last state that is not the present one. */
export function versionsOf(moves: readonly MoveView[], me: string, now: number | null): Version[] {
  const last = new Map<string, Version | null>();
  let before: Version | null = null;
  for (const { annotator, revision, at } of moves) {
    const version = revision === null ? null : { annotator, revision, at, mine: annotator === me };
    if (annotator !== me) last.set(annotator, version);
    else if (version && revision !== now) before = version;
  }
  const others = [...last.values()].filter((version): version is Version => version !== null);
  others.sort((one, two) => one.annotator.localeCompare(two.annotator));
  return before ? [...others, before] : others;
}

export interface Comparison {
  label: number;
  dice: number;
  nsd: number;
  tolerance: number;
  unit: "mm" | "px";
  voxels: [number, number];
  both: number;
}

export async function compare(info: CaseInfo, revision: number): Promise<Comparison[]> {
  return json<Comparison[]>("GET", `/cases/${info.id}/comparison?revision=${revision}`);
}

export async function findCodes(words: string): Promise<Coded[]> {
  return json<Coded[]>("GET", `/codes?words=${encodeURIComponent(words)}`);
}

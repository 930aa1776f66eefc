/** What a person does to a case, as it waits in the outbox until the server has it. */

import type { LabelledObject } from "./case_api.ts";
import type { Point } from "./geometry.ts";
import type { Deed } from "./outbox.ts";
import type { Step } from "./steps_api.ts";

export type Box = [number, number, number, number];

/** `seen` is the version from which a deed was first tried, so that one whose answer got lost is not done twice. */
interface CaseDeedBase extends Deed {
  seen?: number;
}

export interface Place {
  axis: number;
  index: number;
}

export interface PromptDeed extends CaseDeedBase, Place {
  kind: "prompt";
  label: number;
  box: Box | null;
  points: Point[];
  inside: boolean[];
  /** Ends of the axes that the box is of. */
  axes: Point[];
  /** Objects that were locked when it was drawn. */
  kept: number[];
}

export interface EditDeed extends CaseDeedBase, Place {
  kind: "edit";
  label: number;
  /** Pixels that became the object and pixels that it lost, as runs (start, length, ...): a change, so that it goes on top of any mask. */
  painted: number[];
  erased: number[];
}

export interface MoveDeed extends CaseDeedBase {
  kind: "undo" | "redo";
}

export interface ObjectDeed extends CaseDeedBase {
  kind: "object";
  object: LabelledObject;
}

export interface LockDeed extends CaseDeedBase {
  kind: "lock";
  label: number;
  locked: boolean;
}

/** A change that the server makes: holes filled, objects merged, another version taken over. */
export interface StepDeed extends CaseDeedBase {
  kind: "step";
  step: Step;
  kept: number[];
  /** What to say where it changed nothing. */
  idle: string;
}

export type CaseDeed = PromptDeed | EditDeed | MoveDeed | ObjectDeed | LockDeed | StepDeed;

export function samePlace(one: Place, two: Place): boolean {
  return one.axis === two.axis && one.index === two.index;
}

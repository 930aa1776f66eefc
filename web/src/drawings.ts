/** What was drawn for the model, slice by slice and object by object: boxes, clicks and axes. They also mark an object for the 3D job. */

import { samePlace, type Box, type Place } from "./deeds.ts";
import type { Point } from "./geometry.ts";
import type { Drawn } from "./pane_marks.ts";

export interface Prompts {
  box: Box | null;
  points: Point[];
  inside: boolean[];
  /** Ends of the long and the short axis, where the box is theirs. */
  axes: Point[];
}

export const NO_PROMPTS: Prompts = { box: null, points: [], inside: [], axes: [] };

/** An object on a slice. */
export interface Spot extends Place {
  label: number;
}

export type Marker = Spot & Prompts;

export class Drawings {
  private markers: Marker[] = [];

  prompts(spot: Spot): Prompts | null {
    return this.markers.find((one) => same(one, spot)) ?? null;
  }

  set({ label, axis, index }: Spot, { box, points, inside, axes }: Prompts): void {
    this.forget({ label, axis, index });
    this.markers.push({ label, axis, index, box, points, inside, axes });
  }

  forget(spot: Spot): void {
    this.markers = this.markers.filter((one) => !same(one, spot));
  }

  forgetObject(label: number): void {
    this.markers = this.markers.filter((one) => one.label !== label);
  }

  /** What the server knows, in place of all. */
  replace(markers: readonly Marker[]): void {
    this.markers = [...markers];
  }

  /** All that was drawn for an object. */
  of(label: number): Marker[] {
    return this.markers.filter((one) => one.label === label);
  }

  /** What marks an object for the 3D job: a click alone does not say how large it is. */
  marked(label: number): Marker[] {
    return this.of(label).filter((one) => one.box !== null);
  }

  /** What is shown on a slice: all axes, and the box and the clicks of the chosen object. */
  on(place: Place, active: number, colorOf: (label: number) => string): Drawn[] {
    return this.markers.filter((one) => samePlace(one, place)).flatMap((one) => shown(one, one.label === active, colorOf(one.label)));
  }
}

function shown({ box, points, inside, axes }: Marker, active: boolean, color: string): Drawn[] {
  const lines: Drawn[] = axes.length ? [{ kind: "axes", points: axes, color }] : [];
  if (!active) return lines;
  const corners: Drawn[] = box && !axes.length ? [{ kind: "box", points: [[box[0], box[1]], [box[2], box[3]]], color }] : [];
  return [...corners, ...points.map((point, at): Drawn => ({ kind: inside[at] ? "inside" : "outside", points: [point], color })), ...lines];
}

function same(one: Spot, other: Spot): boolean {
  return one.label === other.label && samePlace(one, other);
}

/** What a person asks to be done to the active object: its shape, its neighbours, itself. The server computes it; each is one step of undo. */

import type { Plane } from "./geometry.ts";
import type { CaseSession } from "./session.ts";
import type { Reshaping } from "./steps_api.ts";

const NOTHING: Record<Reshaping, string> = {
  fill: "There is no hole to fill", largest: "It is in one part already", smooth: "It is smooth already",
  grow: "There is no free room to grow into", shrink: "Nothing to take away",
};

export class Editing {
  /** Whether shapes change on this slice alone or through the whole object. */
  whole = false;
  /** How far growing and shrinking goes, in the unit of the scan. */
  by: number;
  /** Slices on each side that "update neighbours" reaches. */
  reach = 5;
  private readonly session: CaseSession;

  constructor(session: CaseSession) {
    this.session = session;
    const { spacing } = session.info;
    this.by = spacing ? Math.max(0.5, Math.ceil(Math.min(spacing[1], spacing[2]) * 10 - 0.001) / 10) : 1; // a pixel at least
  }

  reshape(plane: Plane, how: Reshaping): void {
    const { session } = this;
    if (!this.session.free) return;
    const by = how === "grow" || how === "shrink" ? { by: this.by } : {};
    const place = this.whole ? {} : { plane: session.info.planes[plane.axis] as string, slice: session.position[plane.axis] };
    session.step({ step: "reshape", label: session.active, how, ...by, ...place }, NOTHING[how]);
  }

  /** Slices of a plane on which the active object was corrected: drawn by hand, or prompted. */
  corrected(plane: Plane): number[] {
    const { session } = this;
    const drawn = session.state.drawn[session.active]?.[plane.axis] ?? [];
    const prompted = session.drawings.of(session.active).filter((one) => one.axis === plane.axis).map((one) => one.index);
    return [...new Set([...drawn, ...prompted])].sort((one, two) => one - two);
  }

  /** The corrected slices below and above the one that is shown, with slices between them; null where there are none. */
  between(plane: Plane): [number, number] | null {
    return around(this.corrected(plane), this.session.position[plane.axis]);
  }

  interpolate(plane: Plane): void {
    const span = this.between(plane);
    const { session } = this;
    if (!this.session.free) return;
    if (!span) return session.say("Correct two slices with others between them first");
    const [first, last] = span;
    session.step({ step: "interpolate", label: session.active, plane: session.info.planes[plane.axis] as string, first, last }, "The slices between have it already");
  }

  release(plane: Plane): void {
    const { session } = this;
    session.step({ step: "release", label: session.active, plane: session.info.planes[plane.axis] as string, slice: session.position[plane.axis] }, "This slice was not drawn by hand");
  }

  merge(into: number): void {
    const { session } = this;
    if (!this.session.free) return;
    const label = session.active;
    session.step({ step: "merge", label, into });
    session.activate(into);
  }

  remove(): void {
    const { session } = this;
    if (!this.session.free || !session.state.objects.some((item) => item.label === session.active)) return;
    session.drawings.forgetObject(session.active);
    session.step({ step: "delete", label: session.active });
  }
}

/** The neighbours of a slice among others that have at least one slice between them; of a slice among them, the one after it. */
export function around(slices: readonly number[], at: number): [number, number] | null {
  const below = slices.filter((slice) => slice <= at);
  const above = slices.filter((slice) => slice > at);
  const span: [number | undefined, number | undefined] = above.length ? [below.at(-1), above[0]] : [below.at(-2), below.at(-1)];
  const [first, last] = span;
  return first === undefined || last === undefined || last - first < 2 ? null : [first, last];
}

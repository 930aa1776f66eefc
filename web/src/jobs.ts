/** A 3D job of the page: one at a time, on top of what was drawn before, with what is drawn meanwhile on top of its outcome. */

import { AwayError } from "./api.ts";
import * as api from "./case_api.ts";
import type { CaseSession } from "./session.ts";
import type { Progress } from "./side_panel.ts";

export interface JobListener {
  changed(): void;
  problem(error: unknown): void;
}

export class JobRunner {
  progress: Progress | null = null;
  private job: api.Job | null = null;
  private readonly session: CaseSession;
  private readonly listener: JobListener;

  constructor(session: CaseSession, listener: JobListener) {
    this.session = session;
    this.listener = listener;
  }

  get running(): boolean {
    return this.progress !== null;
  }

  /** Outline the active object through the slices marked in the plane that has most of them. */
  async outline(): Promise<void> {
    const { session } = this;
    const own = session.drawings.marked(session.active);
    const axis = [0, 1, 2].map((at) => own.filter((marker) => marker.axis === at)).sort((one, two) => two.length - one.length)[0]?.[0]?.axis;
    if (axis === undefined) return;
    await this.run(api.outlineJob(session.info, session.active, axis, own.filter((marker) => marker.axis === axis), this.kept));
  }

  /** Carry the active object from a slice where it is right to those beside it. */
  async neighbours(axis: number, slice: number, reach: number, stay: number[]): Promise<void> {
    const { session } = this;
    const end = await this.run({ plane: session.info.planes[axis], neighbours: { label: session.active, slice, reach, stay }, kept: this.kept });
    if (end?.reached) session.say(carriedInWords(slice, end.reached, boundsOf(slice, reach, stay, session.info.shape[axis] as number)));
  }

  private get kept(): number[] {
    return this.session.kept.filter((label) => label !== this.session.active);
  }

  private async run(body: object): Promise<api.JobEnd | null> {
    if (this.running || !this.session.free) return null;
    const { session } = this;
    this.show({ done: 0, total: 0 });
    try {
      if (!(await session.outbox.settled())) throw new AwayError("what was drawn is not with the server yet");
      session.outbox.hold(true);
      this.job = await api.startJob(session.info, session.state.version, body, (done, total) => this.show({ done, total }));
      const end = await this.job.finished;
      session.replaceState(await api.loadState(session.info));
      if (end.state === "cancelled") session.say("Stopped; nothing was changed");
      return end;
    } catch (error) {
      this.listener.problem(error);
      return null;
    } finally {
      this.job = null;
      this.show(null);
      session.outbox.hold(false);
    }
  }

  private show(progress: Progress | null): void {
    this.progress = progress;
    this.listener.changed();
  }

  async stop(): Promise<void> {
    await this.job?.stop();
  }
}

/** First and last slice that may be reached: so far on each side, and not across slices that stay. */
export function boundsOf(slice: number, reach: number, stay: readonly number[], count: number): [number, number] {
  const below = stay.filter((other) => other < slice).map((other) => other + 1);
  const above = stay.filter((other) => other > slice).map((other) => other - 1);
  return [Math.max(0, slice - reach, ...below), Math.min(count - 1, slice + reach, ...above)];
}

/** What became of "update neighbours", in words; slices are counted from 1. */
export function carriedInWords(slice: number, [first, last]: readonly [number, number], [least, most]: readonly [number, number]): string {
  if (first === slice && last === slice) return "For the model the object ends here: the slices beside stay as they were";
  const where = `Carried to slices ${first + 1} to ${last + 1}`;
  const below = first > least;
  const above = last < most;
  if (!below && !above) return where;
  return `${where}; ${below && above ? "on both sides" : below ? "below" : "above"} the object ends there, and what lies behind stays`;
}

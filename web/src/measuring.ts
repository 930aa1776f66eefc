/** Sizes of the objects and the model's scores, asked for once all is saved. */

import { AwayError } from "./api.ts";
import * as api from "./case_api.ts";
import type { CaseSession } from "./session.ts";

const REST_MS = 250; // several changes in a row are measured once

export interface MeasuringListener {
  measured(): void;
  problem(error: unknown): void;
}

export class Measuring {
  measured: api.Measured[] = [];
  /** The state that was measured last, where it holds something. */
  outlined: number | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private readonly session: CaseSession;
  private readonly listener: MeasuringListener;

  constructor(session: CaseSession, listener: MeasuringListener) {
    this.session = session;
    this.listener = listener;
  }

  start(): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.measure(), REST_MS);
  }

  private async measure(): Promise<void> {
    const { session } = this;
    if (session.outbox.waiting.length) return; // it is measured once that is saved
    const { revision } = session.state;
    try {
      [this.measured, session.scores] = revision === null ? [[], []] : await Promise.all([api.measure(session.info), api.loadScores(session.info)]);
    } catch (error) {
      if (!(error instanceof AwayError)) this.listener.problem(error);
      return;
    }
    this.outlined = this.measured.length ? revision : null;
    this.listener.measured();
  }
}

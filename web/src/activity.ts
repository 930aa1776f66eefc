/** Tells the server that somebody works, in the phase that it belongs to, so that the report of the study can tell the time. */

export type Phase = "marking" | "refining" | "review";

interface Happened {
  phase: Phase;
  at: number;
}

const LEAST_MS = 2000; // one event in a while is enough: the server counts the time between
const SEND_MS = 8000;

export class Activity {
  private readonly send: (events: { phase: Phase; ago: number }[]) => Promise<void>;
  private readonly happened: Happened[] = [];
  private readonly sending: ReturnType<typeof setInterval>;

  constructor(send: (events: { phase: Phase; ago: number }[]) => Promise<void>) {
    this.send = send;
    this.sending = setInterval(() => void this.flush(), SEND_MS);
  }

  note(phase: Phase): void {
    const now = performance.now();
    const last = this.happened[this.happened.length - 1];
    if (last && last.phase === phase && now - last.at < LEAST_MS) return;
    this.happened.push({ phase, at: now });
  }

  /** Send what is noted; what the server did not get is tried again. */
  async flush(): Promise<void> {
    const events = this.happened.splice(0, 1000).filter((one) => performance.now() - one.at < 3_600_000);
    if (!events.length) return;
    try {
      await this.send(events.map((one) => ({ phase: one.phase, ago: Math.round(performance.now() - one.at) / 1000 })));
    } catch {
      this.happened.unshift(...events); // the time of a study is not worth a word to who draws
    }
  }

  close(): void {
    clearInterval(this.sending);
    void this.flush();
  }
}

/** Tells the server which slice is looked at, so that the model has seen it before the first prompt, and says calmly when it has. */

import { AwayError } from "./api.ts";

export interface LookingActs {
  /** Tell the server; whether the slice is ready for prompts already. */
  look(axis: number, index: number): Promise<boolean>;
  ask(axis: number, index: number): Promise<boolean>;
  /** What is known of the slice that is looked at. */
  told(state: "ready" | "preparing"): void;
}

const REST_MS = 200; // who scrolls does not look at a slice yet
const ASK_MS = 400;

export class Looking {
  private readonly acts: LookingActs;
  private place = "";
  private turn = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(acts: LookingActs) {
    this.acts = acts;
  }

  /** Called at every drawing; does something where the slice is another one. */
  at(axis: number, index: number): void {
    const place = `${axis}/${index}`;
    if (place === this.place) return;
    this.place = place;
    this.later(() => this.acts.look(axis, index), () => this.acts.ask(axis, index), ++this.turn, REST_MS);
  }

  close(): void {
    this.turn++;
    if (this.timer) clearTimeout(this.timer);
  }

  private later(first: () => Promise<boolean>, then: () => Promise<boolean>, turn: number, wait: number): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.once(first, then, turn), wait);
  }

  private async once(first: () => Promise<boolean>, then: () => Promise<boolean>, turn: number): Promise<void> {
    let ready = false;
    try {
      ready = await first();
    } catch (error) {
      if (!(error instanceof AwayError)) return; // a prompt on the slice says what is wrong
    }
    if (turn !== this.turn) return;
    this.acts.told(ready ? "ready" : "preparing");
    if (!ready) this.later(then, then, turn, ASK_MS);
  }
}

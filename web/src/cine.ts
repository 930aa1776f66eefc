/** Plays through the slices of a plane, round and round; it waits for a slice that is not there yet and skips none. */

export interface CineActs {
  /** Whether the slice after this one has come. */
  ready(): boolean;
  next(): void;
  changed(): void;
}

export class Cine {
  perSecond = 10;
  playing = false;
  private readonly acts: CineActs;
  private frame = 0;
  private last = 0;

  constructor(acts: CineActs) {
    this.acts = acts;
  }

  toggle(): void {
    if (this.playing) this.stop();
    else {
      this.playing = true;
      this.last = performance.now();
      this.frame = requestAnimationFrame((now) => this.tick(now));
      this.acts.changed();
    }
  }

  stop(): void {
    if (!this.playing) return;
    this.playing = false;
    cancelAnimationFrame(this.frame);
    this.acts.changed();
  }

  speed(perSecond: number): void {
    this.perSecond = perSecond;
    this.acts.changed();
  }

  private tick(now: number): void {
    if (now - this.last >= 1000 / this.perSecond - 2 && this.acts.ready()) {
      this.last = now;
      this.acts.next();
    }
    if (this.playing) this.frame = requestAnimationFrame((next) => this.tick(next));
  }
}

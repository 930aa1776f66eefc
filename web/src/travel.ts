/** The way through the slices of the plane that has the focus: the bar under the picture, and play. */

import { Cine } from "./cine.ts";
import type { Plane } from "./geometry.ts";
import type { CaseSession } from "./session.ts";
import { SliceBar } from "./slice_bar.ts";

export class Travel {
  readonly cine: Cine;
  private readonly bar: SliceBar;
  private readonly session: CaseSession;
  private readonly plane: () => Plane;

  constructor(session: CaseSession, plane: () => Plane) {
    this.session = session;
    this.plane = plane;
    this.cine = new Cine({ ready: () => this.nextIsThere(), next: () => this.playOn(), changed: () => this.bar.draw() });
    this.bar = new SliceBar(() => this.scene(), { goTo: (index) => session.goTo(plane(), index), play: () => this.cine.toggle(), speed: (rate) => this.cine.speed(rate) });
  }

  get root(): HTMLElement {
    return this.bar.root;
  }

  draw(): void {
    this.bar.draw();
  }

  private scene() {
    const { session, cine } = this;
    const plane = this.plane();
    return {
      plane, index: session.position[plane.axis], playing: cine.playing, perSecond: cine.perSecond, color: session.colorOf(session.active),
      scores: session.scores.filter((one) => one.label === session.active && one.axis === plane.axis),
      marked: session.drawings.marked(session.active).filter((one) => one.axis === plane.axis).map((one) => one.index),
    };
  }

  private get next(): number {
    const plane = this.plane();
    return (this.session.position[plane.axis] + 1) % plane.count;
  }

  private nextIsThere(): boolean {
    return this.next === 0 || this.session.slices.get(this.plane().axis, this.next) !== null; // from the last to the first nothing was loaded ahead
  }

  private playOn(): void {
    this.session.goTo(this.plane(), this.next);
    this.session.direction = 1;
  }
}

/** How what a person did goes to the server: on top of whatever came between, and one whose answer was lost not twice. */

import { AwayError, Refused } from "./api.ts";
import * as api from "./case_api.ts";
import type { CaseInfo, CaseState, Head } from "./case_api.ts";
import type { LabelSlice } from "./contours.ts";
import type { CaseDeed, EditDeed, MoveDeed, Place, PromptDeed, StepDeed } from "./deeds.ts";
import { withEdit, withMask } from "./label_runs.ts";
import { sendStep } from "./steps_api.ts";

/** Where a case stands in the browser, as an answer of the server changes it. */
export interface Standing {
  readonly info: CaseInfo;
  readonly state: CaseState;
  /** The server holds another state: forget every mask slice. */
  replaceState(state: CaseState): void;
  /** As replaceState, after a step. */
  stepped(state: CaseState): void;
  /** A new state whose mask differs in one slice of one plane. */
  take(state: Head, place: Place, change: (labels: Uint16Array) => Uint16Array, certain?: boolean): void;
  /** The mask of a slice as the server holds it. */
  heldLabels(place: Place): Promise<LabelSlice>;
  /** The state from which a deed was tried is known now: keep it with the deed. */
  remember(): void;
  say(words: string): void;
}

export class Sender {
  private readonly standing: Standing;

  constructor(standing: Standing) {
    this.standing = standing;
  }

  /** A server that was started anew with another token does not know this page until its address is opened: what was drawn waits. */
  async send(deed: CaseDeed): Promise<void> {
    try {
      await this.sendOnTop(deed);
    } catch (error) {
      if (error instanceof Refused && error.status === 401) throw new AwayError("the server has another token now");
      throw error;
    }
  }

  private async sendOnTop(deed: CaseDeed): Promise<void> {
    const { standing } = this;
    if (deed.kind === "object") return api.saveObject(standing.info, deed.object);
    if (deed.kind === "lock") return api.lockObject(standing.info, deed.label, deed.locked);
    if (deed.seen !== undefined && (await this.arrivedBefore(deed.seen))) return;
    for (let attempt = 0; ; attempt++) {
      deed.seen = standing.state.version;
      standing.remember();
      try {
        return await this.sendSeen(deed, deed.seen);
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 409 || attempt) throw error;
        standing.replaceState(await api.loadState(standing.info)); // somebody else's page saved: this deed goes on top of it
      }
    }
  }

  /** Whether the server did a deed whose answer never came: then it stands one version further than when it was sent. */
  private async arrivedBefore(version: number): Promise<boolean> {
    const state = await api.loadState(this.standing.info);
    this.standing.replaceState(state);
    return state.version === version + 1;
  }

  private async sendSeen(deed: PromptDeed | EditDeed | MoveDeed | StepDeed, version: number): Promise<void> {
    const { standing } = this;
    if (deed.kind === "prompt") await this.sendPrompt(deed, version);
    else if (deed.kind === "edit") {
      const labels = withEdit((await standing.heldLabels(deed)).labels, deed);
      standing.take(await api.sendEdit(standing.info, version, deed, labels), deed, () => labels, true);
    } else if (deed.kind === "step") {
      const changed = await sendStep(standing.info, version, deed.step, deed.kept);
      if (!changed && deed.idle) standing.say(deed.idle);
      standing.stepped(await api.loadState(standing.info));
    } else standing.replaceState(await api.sendMove(standing.info, version, deed.kind));
  }

  private async sendPrompt(deed: PromptDeed, version: number): Promise<void> {
    this.standing.say("The model is at work");
    try {
      const answer = await api.sendPrompt(this.standing.info, version, deed);
      this.standing.take(answer.state, deed, (labels) => withMask(labels, answer.mask.runs, deed.label));
    } finally {
      this.standing.say("");
    }
  }
}

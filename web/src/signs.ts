/** What the page says in passing: whether all is saved, whether the model has read the slice, a hint over the picture. */

import { element } from "./dom.ts";
import type { Sending } from "./outbox.ts";

const HINT_MS = 6000;

export class Signs {
  readonly hint = element("div", { class: "hint", attributes: { role: "status" } });
  readonly saving = element("span", { class: "saving", text: "Saved", attributes: { role: "status" } });
  readonly reading = element("span", { class: "ready", attributes: { role: "status" } });
  private quieting: ReturnType<typeof setTimeout> | null = null;

  /** Words over the picture; they go by themselves. */
  say(words: string): void {
    this.hint.textContent = words;
    if (this.quieting) clearTimeout(this.quieting);
    this.quieting = setTimeout(() => (this.hint.textContent = ""), HINT_MS);
  }

  save(sending: Sending, waiting: number): void {
    this.saving.className = sending === "saved" ? "saving" : sending === "saving" ? "saving busy" : "saving away";
    this.saving.textContent = sending === "saved" ? "Saved" : sending === "saving" ? "Saving" : `Server away; ${waiting} kept here`;
  }

  ready(state: "ready" | "preparing"): void {
    this.reading.className = state === "ready" ? "ready" : "ready preparing";
    this.reading.textContent = state === "ready" ? "Model ready" : "Model reads this slice";
    this.reading.title = state === "ready" ? "The model has seen this slice: a prompt answers at once." : "You can draw already; the first answer on this slice comes when the model has read it.";
  }
}

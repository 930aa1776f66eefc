/** Says calmly who else works in the case, and leads to what they drew. */

import type { WorkerView } from "./api.ts";
import { element } from "./dom.ts";

const STAY_MS = 20_000; // well within the minute after which the server takes somebody for gone

export interface CompanyActs {
  /** Say that one is here still; who works in the case now. */
  stay(): Promise<WorkerView[]>;
  leave(): Promise<void>;
  /** Show what they drew. */
  show(): void;
}

/** One line of words; empty where nobody else is here. */
export function companyWords(workers: readonly WorkerView[], me: string): string {
  const [first, second, ...more] = workers.map((one) => one.annotator).filter((name) => name !== me);
  if (first === undefined) return "";
  if (second === undefined) return `${first} works here too`;
  return more.length ? `${first} and ${more.length + 1} others work here too` : `${first} and ${second} work here too`;
}

export class Company {
  readonly root: HTMLElement;
  private readonly acts: CompanyActs;
  private readonly me: string;
  private readonly words = element("button", { class: "company-words", attributes: { type: "button", title: "What they drew is kept beside yours; show its outline (C)" } });
  private readonly staying: ReturnType<typeof setInterval>;
  private closed = false;

  constructor(me: string, acts: CompanyActs) {
    this.me = me;
    this.acts = acts;
    this.root = element("span", { class: "company", attributes: { role: "status" } });
    this.words.addEventListener("click", () => acts.show());
    this.staying = setInterval(() => void this.ask(), STAY_MS);
    void this.ask();
  }

  private async ask(): Promise<void> {
    if (document.visibilityState !== "visible") return;
    const workers = await this.acts.stay().catch(() => []); // who else is here is not worth a word while the server is away
    if (this.closed) return;
    const words = companyWords(workers, this.me);
    if (words === this.words.textContent) return;
    this.words.textContent = words;
    this.root.replaceChildren(...(words ? [this.words] : []));
  }

  close(): void {
    this.closed = true;
    clearInterval(this.staying);
    void this.acts.leave().catch(() => undefined); // the server notices by itself
  }
}

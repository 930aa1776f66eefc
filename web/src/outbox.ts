/** What a person did and the server has not yet acknowledged: kept in the browser, in order, and sent until it is. */

export class AwayError extends Error {}

export type Sending = "saved" | "saving" | "away";

export interface Keeper {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;

/** Each deed carries a key, so that the server can tell one that arrives twice. */
export interface Deed {
  key: string;
}

export class Outbox<T extends Deed> {
  private deeds: T[];
  private busy = false;
  private waitMs = FIRST_WAIT_MS;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private state: Sending = "saved";
  private closed = false;
  private held = false;
  private readonly settling: ((safe: boolean) => void)[] = [];

  private readonly keeper: Keeper;
  private readonly name: string;
  private readonly send: (deed: T) => Promise<void>;
  private readonly changed: (state: Sending, waiting: T[]) => void;
  private readonly refused: (deed: T, error: unknown) => void;

  /**
   * `send` resolves once a deed is safe, rejects with AwayError where the server cannot be reached, and with any other error
   * where the server refused: then the deed is dropped and `refused` is told.
   */
  constructor(
    keeper: Keeper,
    name: string,
    send: (deed: T) => Promise<void>,
    changed: (state: Sending, waiting: T[]) => void,
    refused: (deed: T, error: unknown) => void,
  ) {
    this.keeper = keeper;
    this.name = name;
    this.send = send;
    this.changed = changed;
    this.refused = refused;
    this.deeds = restore<T>(keeper, name);
  }

  get waiting(): readonly T[] {
    return this.deeds;
  }

  start(): void {
    if (this.deeds.length) void this.work();
  }

  close(): void {
    this.closed = true;
    if (this.timer) clearTimeout(this.timer);
  }

  push(deed: T): void {
    this.deeds.push(deed);
    this.store();
    void this.work();
  }

  /** Keep what was changed in the deeds, as the version that one was sent from. */
  remember(): void {
    this.store();
  }

  /** Send nothing for a while; what is pushed is kept. */
  hold(held: boolean): void {
    this.held = held;
    if (!held) void this.work();
  }

  /** Wait until all that was pushed is safe; false where the server cannot be reached. */
  settled(): Promise<boolean> {
    if (!this.deeds.length && !this.busy) return Promise.resolve(true);
    if (this.state === "away") return Promise.resolve(false);
    return new Promise((resolve) => this.settling.push(resolve));
  }

  /** Try at once, as when the server is back. */
  retry(): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    void this.work();
  }

  private async work(): Promise<void> {
    if (this.busy || this.timer || this.closed || this.held) return;
    this.busy = true;
    while (this.deeds[0] && !this.closed && !this.held) {
      const deed = this.deeds[0];
      if (this.state !== "away") this.tell("saving");
      try {
        await this.send(deed);
        this.waitMs = FIRST_WAIT_MS;
      } catch (error) {
        if (error instanceof AwayError) {
          this.tell("away");
          this.timer = setTimeout(() => this.retry(), this.waitMs);
          this.waitMs = Math.min(LONGEST_WAIT_MS, this.waitMs * 1.6);
          this.busy = false;
          return;
        }
        this.refused(deed, error);
      }
      this.deeds.shift();
      this.store();
    }
    this.busy = false;
    this.tell(this.deeds.length ? "saving" : "saved"); // what is held is not safe yet
  }

  private tell(state: Sending): void {
    this.state = state;
    if (state !== "saving") for (const resolve of this.settling.splice(0)) resolve(state === "saved");
    this.changed(state, this.deeds);
  }

  private store(): void {
    if (this.deeds.length) this.keeper.setItem(this.name, JSON.stringify(this.deeds));
    else this.keeper.removeItem(this.name);
  }
}

function restore<T extends Deed>(keeper: Keeper, name: string): T[] {
  const kept: unknown = JSON.parse(keeper.getItem(name) ?? "[]");
  return Array.isArray(kept) ? (kept as T[]) : [];
}

/** A key that nobody else makes. */
export function freshKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Slices as they are needed: what is looked at first, then its neighbours in the direction of scrolling, a few at a time. */

interface Entry<T> {
  value: T | null;
  used: number;
  bytes: number;
  running: AbortController | null;
  failed: number;
}

export interface Source<T> {
  load(plane: number, index: number, signal: AbortSignal): Promise<T>;
  bytesOf(value: T): number;
}

const RETRY_MS = 1500;

export class SliceStore<T> {
  private readonly entries = new Map<string, Entry<T>>();
  private wanted: [number, number][] = [];
  private running = 0;
  private clock = 0;
  private bytes = 0;

  private readonly source: Source<T>;
  private readonly arrived: (plane: number, index: number) => void;
  private readonly failed: (error: unknown) => void;
  private readonly limitBytes: number;
  private readonly atOnce: number;

  constructor(
    source: Source<T>,
    arrived: (plane: number, index: number) => void,
    failed: (error: unknown) => void,
    limitBytes = 384 * 1024 * 1024,
    atOnce = 4,
  ) {
    this.source = source;
    this.arrived = arrived;
    this.failed = failed;
    this.limitBytes = limitBytes;
    this.atOnce = atOnce;
  }

  get(plane: number, index: number): T | null {
    const entry = this.entries.get(`${plane}/${index}`);
    if (!entry) return null;
    entry.used = ++this.clock;
    return entry.value;
  }

  /** Put a value there that is known already. */
  set(plane: number, index: number, value: T): void {
    const entry = this.entry(plane, index);
    entry.running?.abort();
    this.keep(entry, value);
    this.arrived(plane, index);
  }

  /** Forget all, as after a change of everything; what is wanted is loaded anew. */
  clear(): void {
    this.forget(() => true);
  }

  /** Forget some slices. */
  forget(which: (plane: number, index: number) => boolean): void {
    for (const [key, entry] of this.entries) {
      const [plane, index] = key.split("/").map(Number) as [number, number];
      if (!which(plane, index)) continue;
      entry.running?.abort();
      this.bytes -= entry.bytes;
      this.entries.delete(key);
    }
    this.pump();
  }

  /** Say what is needed, the most urgent first. Loads that nobody wants any more are stopped. */
  want(list: [number, number][]): void {
    this.wanted = list;
    const keys = new Set(list.map(([plane, index]) => `${plane}/${index}`));
    for (const [key, entry] of this.entries) if (entry.running && !keys.has(key)) entry.running.abort();
    this.pump();
  }

  private entry(plane: number, index: number): Entry<T> {
    const key = `${plane}/${index}`;
    const found = this.entries.get(key) ?? { value: null, used: ++this.clock, bytes: 0, running: null, failed: 0 };
    this.entries.set(key, found);
    return found;
  }

  private pump(): void {
    for (const [plane, index] of this.wanted) {
      if (this.running >= this.atOnce) return;
      const entry = this.entry(plane, index);
      if (entry.value !== null || entry.running || performance.now() < entry.failed) continue;
      void this.load(entry, plane, index);
    }
  }

  private async load(entry: Entry<T>, plane: number, index: number): Promise<void> {
    const control = new AbortController();
    entry.running = control;
    this.running++;
    try {
      const value = await this.source.load(plane, index, control.signal);
      if (control.signal.aborted || this.entries.get(`${plane}/${index}`) !== entry) return;
      this.keep(entry, value);
      this.arrived(plane, index);
    } catch (error) {
      if (!control.signal.aborted) {
        entry.failed = performance.now() + RETRY_MS;
        this.failed(error);
        setTimeout(() => this.pump(), RETRY_MS + 50);
      }
    } finally {
      this.running--;
      if (entry.running === control) entry.running = null;
      this.pump();
    }
  }

  private keep(entry: Entry<T>, value: T): void {
    this.bytes += this.source.bytesOf(value) - entry.bytes;
    entry.bytes = this.source.bytesOf(value);
    entry.value = value;
    entry.running = null;
    entry.used = ++this.clock;
    if (this.bytes <= this.limitBytes) return;
    const oldest = [...this.entries].filter(([, other]) => other.value !== null && other !== entry).sort((one, two) => one[1].used - two[1].used);
    for (const [key, other] of oldest) {
      if (this.bytes <= this.limitBytes * 0.9) break;
      this.bytes -= other.bytes;
      this.entries.delete(key);
    }
  }
}

/** Indices around one, nearest first, those ahead in the direction of scrolling before those behind. */
export function around(index: number, count: number, direction: number, ahead = 12, behind = 4): number[] {
  const way = direction < 0 ? -1 : 1;
  const found = [index];
  for (let step = 1; step <= ahead; step++) {
    found.push(index + way * step);
    if (step <= behind) found.push(index - way * step);
  }
  return found.filter((value) => value >= 0 && value < count);
}

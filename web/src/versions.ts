/** The version of the case that one's own mask is held against: which one, its slices, and how well they agree. */

import { loadLabels, type CaseInfo } from "./case_api.ts";
import type { LabelSlice } from "./contours.ts";
import { SliceStore } from "./slice_store.ts";
import { compare, loadVersions, type Comparison, type Version } from "./steps_api.ts";

export interface VersionsListener {
  draw(): void;
  panel(): void;
  problem(error: unknown): void;
}

export class Versions {
  known: Version[] = [];
  chosen: Version | null = null;
  /** Whether the difference is shown in colour. */
  difference = false;
  comparison: Comparison[] = [];
  private slices: SliceStore<LabelSlice> | null = null;
  private readonly info: CaseInfo;
  private readonly listener: VersionsListener;

  constructor(info: CaseInfo, listener: VersionsListener) {
    this.info = info;
    this.listener = listener;
  }

  /** Ask who stands where; a version that was chosen follows its annotator. */
  async refresh(): Promise<void> {
    try {
      this.known = await loadVersions(this.info);
      const { chosen } = this;
      const same = chosen && this.known.find((version) => version.annotator === chosen.annotator && version.mine === chosen.mine);
      if (chosen && same?.revision !== chosen.revision) this.choose(same ?? null);
      else if (chosen) await this.measure();
      this.listener.panel();
    } catch (error) {
      this.listener.problem(error);
    }
  }

  choose(version: Version | null): void {
    this.chosen = version;
    this.comparison = [];
    this.slices?.want([]);
    this.slices = version && new SliceStore<LabelSlice>(
      { load: (axis, index, signal) => loadLabels(this.info, version.revision, axis, index, signal), bytesOf: (slice) => slice.labels.byteLength },
      () => this.listener.draw(), (error) => this.listener.problem(error), 32 * 1024 * 1024,
    );
    if (version) void this.measure();
    this.listener.panel();
    this.listener.draw();
  }

  showDifference(shown: boolean): void {
    this.difference = shown;
    this.listener.panel();
    this.listener.draw();
  }

  /** The next version, and after the last one none. */
  next(): Version | null {
    const at = this.known.findIndex((version) => version.revision === this.chosen?.revision);
    this.choose(this.known[at + 1] ?? null);
    return this.chosen;
  }

  need(places: readonly [number, number][]): void {
    this.slices?.want([...places]);
  }

  at(axis: number, index: number): LabelSlice | null {
    return this.slices?.get(axis, index) ?? null;
  }

  private async measure(): Promise<void> {
    const { chosen } = this;
    if (!chosen) return;
    try {
      const rows = await compare(this.info, chosen.revision);
      if (this.chosen !== chosen) return;
      this.comparison = rows;
      this.listener.panel();
    } catch (error) {
      this.listener.problem(error);
    }
  }
}

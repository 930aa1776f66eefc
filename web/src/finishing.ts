/** How a case ends: its status, its mask written to a file or sent to the archive, the next case. */

import type { Status } from "./api.ts";
import * as api from "./case_api.ts";
import type { ExportFormat } from "./case_api.ts";
import { button, element } from "./dom.ts";
import { exportMenu } from "./export_menu.ts";
import { exportsOf, STORED } from "./exports.ts";
import { STATUS_WORDS } from "./list_page.ts";
import { note } from "./notes.ts";

export interface FinishingActs {
  say(words: string): void;
  problem(error: unknown): void;
}

export class Finishing {
  private readonly info: api.CaseInfo;
  private readonly acts: FinishingActs;
  private readonly status = element("select", { class: "field status-field", attributes: { "aria-label": "Status of the case" } });

  constructor(info: api.CaseInfo, acts: FinishingActs) {
    this.info = info;
    this.acts = acts;
    for (const [value, [words]] of Object.entries(STATUS_WORDS)) {
      this.status.append(element("option", { text: words, attributes: { value, selected: value === info.status } }));
    }
    this.status.addEventListener("change", () => void this.setStatus(this.status.value as Status));
  }

  controls(): HTMLElement[] {
    return [
      this.status,
      exportMenu([
        ...exportsOf(this.info.shape[0]).map((format) => ({ ...format, to: "file" as const, act: () => void this.export(format) })),
        ...(this.info.pacs ? STORED : []).map((format) => ({ ...format, to: "pacs" as const, act: () => void this.store(format) })),
      ]),
      button("Done, next", () => void this.finish(), { class: "button main", hint: "Mark the case done and open the next one" }),
    ];
  }

  /** Something was saved: a new case is in work, as the server has it too. */
  begun(): void {
    if (this.status.value === "new") this.status.value = "in work";
  }

  get done(): boolean {
    return this.status.value === "done" || this.status.value === "reviewed";
  }

  private async setStatus(status: Status): Promise<void> {
    try {
      await api.setStatus(this.info, status);
    } catch (error) {
      this.acts.problem(error);
    }
  }

  private async finish(): Promise<void> {
    await this.setStatus("done");
    try {
      const next = (await api.listCases()).find((item) => item.status !== "done" && item.status !== "reviewed");
      window.location.hash = next ? `#/case/${next.id}` : "";
    } catch (error) {
      this.acts.problem(error);
    }
  }

  private async export(format: ExportFormat): Promise<void> {
    this.acts.say("Writing the file");
    try {
      await api.exportMask(this.info, format);
      this.acts.say("");
    } catch (error) {
      this.acts.say("");
      this.acts.problem(error);
    }
  }

  private async store(format: ExportFormat): Promise<void> {
    this.acts.say("Sending the mask to the PACS");
    try {
      await api.storeMask(this.info, format);
      this.acts.say("");
      note({ title: "The mask is in the PACS", detail: `${format.format === "rtstruct" ? "RTSTRUCT" : "DICOM SEG"}, beside the series of the scan.` });
    } catch (error) {
      this.acts.say("");
      this.acts.problem(error);
    }
  }
}

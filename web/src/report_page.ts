/** The report of the study: how long each case took, by phase, with and without the model. */

import { inWords, json } from "./api.ts";
import { button, element, iconButton } from "./dom.ts";
import { switchTheme } from "./theme.ts";

const PHASES = ["marking", "model", "refining", "review"] as const;
type Phase = (typeof PHASES)[number];
const PHASE_WORDS: Record<Phase, string> = { marking: "Marking", model: "Model’s answer", refining: "Refining", review: "Review" };

export interface CaseTime extends Record<Phase, number> {
  case: number;
  annotator: string;
  with_model: boolean;
  total: number;
  idle: number;
}

interface Report {
  idle_seconds: number;
  times: CaseTime[];
}

/** Minutes and seconds. */
export function clock(seconds: number): string {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Mean seconds a case without and with the model, and the share that the model saves; null where one of them is missing. */
export function savedBy(times: readonly CaseTime[]): { without: number | null; with: number | null; share: number | null } {
  const mean = (own: readonly CaseTime[]): number | null => (own.length ? own.reduce((sum, one) => sum + one.total, 0) / own.length : null);
  const [without, withModel] = [mean(times.filter((one) => !one.with_model)), mean(times.filter((one) => one.with_model))];
  return { without, with: withModel, share: without && withModel !== null ? 1 - withModel / without : null };
}

export async function openReport(page: HTMLElement): Promise<() => void> {
  document.title = "Study report · MedSAM";
  const inner = element("main", { class: "list-inner" }, element("header", { class: "list-head" },
    iconButton("back", "Back to the cases", () => (window.location.hash = "")),
    element("div", { class: "brand" }, element("div", {}, element("h1", { text: "Study report" }), element("p", { text: "Time by case and phase" }))),
    element("div", { class: "grow" }), iconButton("theme", "Light or dark", switchTheme)));
  page.replaceChildren(element("div", { class: "list-page" }, inner));
  try {
    inner.append(...body(await json<Report>("GET", "/report")));
  } catch (error) {
    const told = inWords(error);
    inner.append(element("div", { class: "empty", attributes: { role: "alert" } }, element("p", { text: told.title }), element("p", { text: told.detail }),
      button("Try again", () => void openReport(page))));
  }
  return () => undefined;
}

function body(report: Report): HTMLElement[] {
  if (!report.times.length) return [element("p", { class: "empty", text: "No time is recorded yet. It is counted by itself while somebody outlines a case." })];
  const mean = savedBy(report.times);
  const facts: [string, string][] = [
    ["Without the model", mean.without === null ? "–" : clock(mean.without)], ["With the model", mean.with === null ? "–" : clock(mean.with)],
    ["Time saved", mean.share === null ? "–" : `${Math.round(100 * mean.share)} %`.replace("-", "−")],
  ];
  const most = Math.max(...report.times.map((one) => one.total), 1);
  return [
    element("div", { class: "facts" }, ...facts.map(([name, value]) => element("div", { class: "fact" }, element("strong", { text: value }), element("span", { text: name })))),
    element("div", { class: "legend", attributes: { "aria-hidden": true } }, ...PHASES.map((phase) => element("span", { class: `phase ${phase}`, text: PHASE_WORDS[phase] }))),
    element("div", { class: "table-box" }, element("table", { class: "report" },
      element("caption", { class: "visually-hidden", text: "Minutes and seconds of each case, annotator and phase" }),
      element("thead", {}, element("tr", {}, ...["Case", "Annotator", "Model", ...PHASES.map((phase) => PHASE_WORDS[phase]), "Total", "Idle", ""].map((name, at) => element("th", { text: name, class: at > 2 && at < 9 ? "number" : "", attributes: { scope: "col" } })))),
      element("tbody", {}, ...report.times.map((one) => row(one, most))))),
    element("p", { class: "quiet", text: `Minutes and seconds; the means above are of a case. A pause of more than ${Math.round(report.idle_seconds)} s is idle and in no phase. medsam project report writes tables and figures.` }),
  ];
}

function row(one: CaseTime, most: number): HTMLElement {
  const bar = element("div", { class: "phase-bar", attributes: { "aria-hidden": true } });
  for (const phase of PHASES) {
    const part = element("span", { class: phase });
    part.style.width = `${(100 * one[phase]) / most}%`;
    bar.append(part);
  }
  const numbers = [...PHASES.map((phase) => one[phase]), one.total, one.idle].map((seconds) => element("td", { class: "number", text: clock(seconds) }));
  return element("tr", {}, element("th", { text: String(one.case), attributes: { scope: "row" } }), element("td", { text: one.annotator }),
    element("td", { text: one.with_model ? "with" : "without" }), ...numbers, element("td", { class: "bar-cell" }, bar));
}

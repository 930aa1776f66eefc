/** The list of cases: a picture, what it is, how far it is. */

import { inWords, type CaseView, type Status } from "./api.ts";
import * as api from "./case_api.ts";
import { showTour } from "./dialogs.ts";
import { button, element, iconButton } from "./dom.ts";
import { planesOf, viewMatrix } from "./geometry.ts";
import { note } from "./notes.ts";
import { SlicePainter } from "./slice_image.ts";
import { switchTheme } from "./theme.ts";

export const STATUS_WORDS: Record<Status, [string, string]> = {
  new: ["New", "new"],
  "in work": ["In work", "work"],
  done: ["Done", "done"],
  reviewed: ["Reviewed", "reviewed"],
};

type Filter = Status | "all";

export async function openList(page: HTMLElement): Promise<() => void> {
  document.title = "Cases · MedSAM";
  let cases: CaseView[] = [];
  try {
    cases = await api.listCases();
  } catch (error) {
    note(inWords(error), true);
  }
  const finished = cases.filter((item) => item.status === "done" || item.status === "reviewed").length;
  const bar = element("div", { class: "progress-bar" });
  bar.style.width = cases.length ? `${(100 * finished) / cases.length}%` : "0";
  const pictures = new Pictures();
  const cards = new Map(cases.map((item) => [item, element("li", {}, card(item, pictures))]));
  const next = cases.find((item) => item.status === "in work") ?? cases.find((item) => item.status === "new");
  page.replaceChildren(
    element("div", { class: "list-page" }, element("main", { class: "list-inner" },
      element("header", { class: "list-head" },
        element("div", { class: "brand" }, element("img", { attributes: { src: "./favicon.svg", alt: "" } }),
          element("div", {}, element("h1", { text: "Cases" }), element("p", { text: `${finished} of ${cases.length} done` }))),
        element("div", { class: "grow" }),
        iconButton("theme", "Light or dark", switchTheme),
        button("?", () => showTour(true), { class: "icon-button", hint: "How it works" }),
        element("a", { class: "button", text: "Study report", attributes: { href: "#/report" } }),
        next ? element("a", { class: "button main", text: next.status === "new" ? "Start the next case" : "Go on", attributes: { href: `#/case/${next.id}`, title: api.titleOf(next) } }) : null),
      element("div", { class: "progress", attributes: { role: "progressbar", "aria-label": "Cases done", "aria-valuemin": 0, "aria-valuemax": cases.length, "aria-valuenow": finished } }, bar),
      cases.length ? filters(cases, cards) : element("div", { class: "list-space" }),
      cases.length
        ? element("ul", { class: "cases" }, ...cards.values())
        : element("p", { class: "empty", text: "There is no case here yet. Add scans with: medsam project add" }))),
  );
  return () => pictures.stop();
}

/** Chips that show the cases of one status, with how many there are. */
function filters(cases: readonly CaseView[], cards: ReadonlyMap<CaseView, HTMLElement>): HTMLElement {
  const row = element("div", { class: "chips filters", attributes: { role: "group", "aria-label": "Show" } });
  const choose = (chosen: Filter): void => {
    for (const [item, made] of cards) made.hidden = chosen !== "all" && item.status !== chosen;
    for (const chip of row.children) chip.setAttribute("aria-pressed", String(chip.getAttribute("data-filter") === chosen));
  };
  const all: [Filter, string][] = [["all", "All"], ...Object.entries(STATUS_WORDS).map(([status, [words]]): [Filter, string] => [status as Status, words])];
  for (const [filter, words] of all) {
    const count = filter === "all" ? cases.length : cases.filter((item) => item.status === filter).length;
    const chip = button(`${words} ${count}`, () => choose(filter), { class: "button chip", pressed: filter === "all" });
    chip.dataset["filter"] = filter;
    chip.disabled = count === 0;
    row.append(chip);
  }
  return row;
}

function card(item: CaseView, pictures: Pictures): HTMLElement {
  const canvas = element("canvas", { attributes: { width: 460, height: 345, "aria-hidden": true } });
  const [words, look] = STATUS_WORDS[item.status];
  const detail = element("div", { class: "case-detail", text: api.sizeOf(item.shape) });
  pictures.add(canvas, async (signal) => {
    const info = await api.loadCase(item.id);
    detail.textContent = describe(info);
    await paintThumbnail(info, canvas, signal);
  });
  return element("a", { class: "case-card", attributes: { href: `#/case/${item.id}` } },
    element("div", { class: "case-picture" }, canvas),
    element("div", { class: "case-words" },
      element("div", { class: "case-title" }, element("span", { text: api.titleOf(item) }), element("span", { class: `status ${look}`, text: words })), detail,
      item.working.length ? element("div", { class: "case-company", text: `At work now: ${item.working.map((one) => one.annotator).join(", ")}` }) : null));
}

export function describe(info: api.CaseInfo): string {
  return [info.modality, api.sizeOf(info.shape)].filter(Boolean).join(" · ");
}

/** Loads the pictures of the cards that are seen, one after the other, because each makes the server read a scan. */
class Pictures {
  private readonly stopped = new AbortController();
  private readonly loads = new Map<Element, (signal: AbortSignal) => Promise<void>>();
  private queue: Element[] = [];
  private busy = false;
  private readonly seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      this.seen.unobserve(entry.target);
      this.queue.push(entry.target);
    }
    void this.work();
  });

  add(canvas: Element, load: (signal: AbortSignal) => Promise<void>): void {
    this.loads.set(canvas, load);
    this.seen.observe(canvas);
  }

  stop(): void {
    this.seen.disconnect();
    this.queue = [];
    this.stopped.abort();
  }

  private async work(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    for (let next = this.queue.shift(); next && !this.stopped.signal.aborted; next = this.queue.shift()) {
      // A card without its picture still opens its case, where the reason is told.
      await this.loads.get(next)?.(this.stopped.signal).catch(() => undefined);
    }
    this.busy = false;
  }
}

async function paintThumbnail(info: api.CaseInfo, canvas: HTMLCanvasElement, signal: AbortSignal): Promise<void> {
  const plane = planesOf(info)[0];
  const context = canvas.getContext("2d");
  if (!plane || !context) return;
  const slice = await api.loadSlice(info, plane.axis, Math.floor(plane.count / 2), signal);
  const painter = new SlicePainter();
  painter.paint(slice, { level: (info.range[0] + info.range[1]) / 2, width: info.range[1] - info.range[0] || 1, invert: false });
  const matrix = viewMatrix(plane, { zoom: 1, pan: [0, 0] }, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.setTransform(matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f);
  context.drawImage(painter.canvas, -0.5, -0.5);
}

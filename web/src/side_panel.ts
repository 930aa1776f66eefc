/** The panel beside the picture: objects, 3D, window, sizes. Rebuilt whole when something in it changed. */

import * as api from "./case_api.ts";
import type { LabelledObject, Measured } from "./case_api.ts";
import { correctSection, type CorrectActions } from "./correct_section.ts";
import { button, element, iconButton } from "./dom.ts";
import type { Editing } from "./editing.ts";
import type { Plane } from "./geometry.ts";
import { objectTools } from "./object_tools.ts";
import { ranked, type SliceScore } from "./review.ts";
import { reviewSection } from "./review_section.ts";
import type { CaseSession } from "./session.ts";
import type { Range } from "./thresholds.ts";
import type { Versions } from "./versions.ts";
import { versionsSection } from "./versions_section.ts";
import type { Windowing } from "./windows.ts";

export interface PanelActions extends CorrectActions {
  outline(): void;
  stop(): void;
  nextDoubtful(): void;
  goTo(place: SliceScore): void;
  setWindow(change: Partial<Windowing>): void;
}

/** A 3D job that runs: how far it is, in slices. */
export interface Progress {
  done: number;
  total: number;
}

export interface PanelState {
  progress: Progress | null;
  measured: Measured[];
  brushMm: number;
  setBrush(mm: number): void;
  /** Values within which the brush paints; null where it paints all. */
  range: Range | null;
  setRange(range: Range | null): void;
  editing: Editing;
  versions: Versions;
  /** The plane that has the focus. */
  plane: Plane;
}

export function sidePanel(session: CaseSession, state: PanelState, act: PanelActions): HTMLElement[] {
  const sections = [objects(session, state)];
  if (session.planes.some((plane) => plane.count > 1)) sections.push(through(session, state, act));
  const review = reviewSection(ranked(session.scores, session.active), session.position, (axis) => session.planes.find((plane) => plane.axis === axis)?.name ?? "", act);
  if (review) sections.push(review);
  sections.push(correctSection(session, state.editing, state.plane, act));
  const versions = versionsSection(session, state.versions);
  if (versions) sections.push(versions);
  if (!session.info.rgb) sections.push(windowing(session, act));
  sections.push(masks(session, state, act));
  if (state.measured.length) sections.push(sizes(session, state.measured));
  return sections;
}

function objects(session: CaseSession, state: PanelState): HTMLElement {
  const shown = session.state.objects.some((item) => item.label === session.active)
    ? session.state.objects
    : [...session.state.objects, { label: session.active, name: `Object ${session.active}`, color: api.paletteColor(session.active), code: null, locked: false }];
  return element("section", { class: "section", attributes: { "aria-label": "Objects" } },
    element("div", { class: "section-head" }, element("h2", { text: "Objects" }), button("New", () => session.addObject(), { class: "button chip", hint: "New object (N)" })),
    element("ul", { class: "objects" }, ...shown.map((item) => objectRow(session, state, item))), objectTools(session, state.editing));
}

function objectRow(session: CaseSession, state: PanelState, item: LabelledObject): HTMLElement {
  const active = item.label === session.active;
  const hidden = session.hidden.has(item.label);
  const locked = session.lockedObjects.has(item.label);
  const size = state.measured.find((one) => one.label === item.label);
  const color = element("input", { class: "swatch", attributes: { type: "color", value: item.color, "aria-label": `Colour of ${item.name}` } });
  color.addEventListener("change", () => session.describe({ ...item, color: color.value }));
  const name = element("input", { class: "object-name", attributes: { value: item.name, "aria-label": `Name of object ${item.label}`, spellcheck: "false" } });
  name.addEventListener("change", () => session.describe({ ...item, name: name.value.trim() || item.name }));
  name.addEventListener("keydown", (event) => {
    if (event.key === "Enter") name.blur();
    event.stopPropagation();
  });
  const row = element("li", { class: active ? "object active" : "object", attributes: { "data-label": item.label, "aria-current": active ? "true" : null } },
    color, name,
    size ? element("span", { class: "object-size", text: volume(size) }) : null,
    iconButton(locked ? "locked" : "unlocked", locked ? `Unlock ${item.name}` : `Lock ${item.name}: nothing changes it`, () => session.toggleLocked(item.label), "small"),
    iconButton(hidden ? "hidden" : "eye", hidden ? `Show ${item.name}` : `Hide ${item.name}`, () => session.toggleHidden(item.label), "small"));
  row.addEventListener("pointerdown", (event) => {
    if (!active && !(event.target as HTMLElement).closest("button, .swatch")) session.activate(item.label);
  });
  name.addEventListener("focus", () => {
    if (!active && name.matches(":focus-visible")) session.activate(item.label, false);
  });
  return row;
}

function through(session: CaseSession, state: PanelState, act: PanelActions): HTMLElement {
  const marked = session.drawings.marked(session.active).length;
  const section = element("section", { class: "section", attributes: { "aria-label": "Through slices" } },
    element("div", { class: "section-head" }, element("h2", { text: "Through slices" }),
      element("span", { class: "quiet", text: marked === 1 ? "1 slice marked" : `${marked} slices marked` })));
  if (state.progress) {
    const { done, total } = state.progress;
    const bar = element("div", { class: "progress-bar" });
    bar.style.width = `${total ? (100 * done) / total : 0}%`;
    section.append(
      element("div", { class: "progress", attributes: { role: "progressbar", "aria-label": "Slices outlined", "aria-valuemin": 0, "aria-valuemax": total, "aria-valuenow": done } }, bar),
      element("div", { class: "row" }, element("span", { class: "quiet grow", text: total ? `${done} of ${total} slices` : "starting" }), button("Stop", act.stop, { class: "button chip" })));
    return section;
  }
  const run = button("Outline through slices", act.outline, { class: "button wide", hint: "From the marked slices through all between them (G)" });
  run.disabled = marked === 0;
  section.append(run);
  if (!marked) section.append(element("p", { class: "quiet", text: "Mark the object by a box or its axes on its first, last and a few slices between." }));
  return section;
}

function windowing(session: CaseSession, act: PanelActions): HTMLElement {
  const { level, width, invert } = session.windowing;
  const digits = width < 10 ? 2 : 0;
  return element("section", { class: "section", attributes: { "aria-label": "Window" } },
    element("div", { class: "section-head" }, element("h2", { text: "Window" }), element("span", { class: "quiet", text: `W ${width.toFixed(digits)}  L ${level.toFixed(digits)}`, attributes: { "data-window": "" } })),
    element("div", { class: "chips" },
      ...session.presets.map((preset) => button(preset.name, () => act.setWindow({ level: preset.level, width: preset.width }), { class: "button chip", pressed: preset.level === level && preset.width === width })),
      button("Invert", () => act.setWindow({ invert: !invert }), { class: "button chip", pressed: invert, hint: "Invert (I)" })));
}

function masks(session: CaseSession, state: PanelState, act: PanelActions): HTMLElement {
  return element("section", { class: "section", attributes: { "aria-label": "Masks" } },
    element("div", { class: "section-head" }, element("h2", { text: "Drawing" })),
    slider("Mask fill", session.opacity * 100, 0, 80, (value) => `${value} %`, (value) => {
      session.opacity = value / 100;
      act.redraw();
    }),
    slider("Brush size", state.brushMm * 2, 1, 60, (value) => `${value} ${session.info.spacing ? "mm" : "px"}`, (value) => state.setBrush(value / 2)),
    ...(session.info.rgb ? [] : thresholds(session, state)));
}

/** Values within which the brush paints; the range comes from what lies under it. */
function thresholds(session: CaseSession, state: PanelState): HTMLElement[] {
  const { range } = state;
  const [low, high] = session.info.range;
  const toggle = button("Paint in a range only", () => state.setRange(range ? null : { low, high }), { class: "button chip", pressed: range !== null, hint: "The brush paints only values in a range; T over the picture takes it from what lies under the brush" });
  if (!range) return [toggle];
  const field = (label: string, value: number, changed: (value: number) => Range): HTMLElement => {
    const input = element("input", { class: "field number", attributes: { type: "number", step: "any", value, "aria-label": label } });
    input.addEventListener("change", () => {
      if (input.value !== "" && Number.isFinite(Number(input.value))) state.setRange(changed(Number(input.value)));
    });
    return input;
  };
  return [toggle, element("div", { class: "number-row" }, field("Lowest value painted", range.low, (value) => ({ ...range, low: value })), element("span", { class: "quiet", text: "to" }),
    field("Highest value painted", range.high, (value) => ({ ...range, high: value })))];
}

function slider(label: string, value: number, least: number, most: number, words: (value: number) => string, change: (value: number) => void): HTMLElement {
  const output = element("output", { text: words(Math.round(value)) });
  const input = element("input", { class: "slider", attributes: { type: "range", min: least, max: most, value: Math.round(value), "aria-label": label } });
  input.addEventListener("input", () => {
    output.textContent = words(Number(input.value));
    change(Number(input.value));
  });
  return element("label", { class: "label-row" }, element("span", { text: label }), input, output);
}

function sizes(session: CaseSession, measured: Measured[]): HTMLElement {
  const active = measured.find((one) => one.label === session.active);
  if (!active) return element("section", { class: "section" }, element("p", { class: "quiet", text: "The chosen object has no mask yet." }));
  const rows: [string, string][] = [["Volume", volume(active)]];
  if (active.long !== null) rows.push(["Longest diameter", `${active.long.toFixed(1)} ${active.unit}`]);
  if (active.short !== null) rows.push(["Perpendicular", `${active.short.toFixed(1)} ${active.unit}`]);
  if (active.mean !== null && active.spread !== null) rows.push([active.valueUnit ? "Mean ± spread" : "Mean ± spread of values", values(active.mean, active.spread, active.valueUnit)]);
  return element("section", { class: "section", attributes: { "aria-label": "Sizes" } },
    element("div", { class: "section-head" }, element("h2", { text: "Sizes" })),
    element("table", { class: "table" }, element("tbody", {}, ...rows.map(([name, value]) => element("tr", {}, element("th", { text: name, attributes: { scope: "row" } }), element("td", { text: value }))))));
}

function values(mean: number, spread: number, unit: string | null): string {
  const digits = Math.abs(mean) < 10 && spread < 10 ? 2 : 0;
  return `${mean.toFixed(digits)} ± ${spread.toFixed(digits)}${unit ? ` ${unit}` : ""}`;
}

function volume(measured: Measured): string {
  if (measured.volumeMl === null) return `${measured.voxels.toLocaleString("en")} px`;
  return measured.volumeMl >= 0.1 ? `${measured.volumeMl.toFixed(measured.volumeMl < 10 ? 2 : 1)} ml` : `${(measured.volumeMl * 1000).toFixed(0)} mm³`;
}

/** The part of the panel that corrects the active object: shapes, interpolation, neighbours. */

import { button, element } from "./dom.ts";
import type { Editing } from "./editing.ts";
import type { Plane } from "./geometry.ts";
import type { CaseSession } from "./session.ts";
import type { Reshaping } from "./steps_api.ts";

export interface CorrectActions {
  neighbours(): void;
  interpolate(): void;
  redraw(): void;
}

const SHAPES: [Reshaping, string, string][] = [
  ["fill", "Fill holes", "O"], ["largest", "Keep largest", "L"], ["smooth", "Smooth", "J"], ["grow", "Grow", "."], ["shrink", "Shrink", ","],
];

export function correctSection(session: CaseSession, editing: Editing, plane: Plane, act: CorrectActions): HTMLElement {
  const unit = session.info.spacing ? "mm" : "px";
  const deep = plane.count > 1;
  const locked = session.lockedObjects.has(session.active);
  const section = element("section", { class: "section", attributes: { "aria-label": "Correct" } },
    element("div", { class: "section-head" }, element("h2", { text: "Correct" }),
      deep ? button(editing.whole ? "Whole object" : "This slice", () => {
        editing.whole = !editing.whole;
        act.redraw();
      }, { class: "button chip", pressed: editing.whole, hint: "What the shapes change: this slice or the whole object (Q)" }) : null));
  const shapes = SHAPES.map(([how, words, key]) => button(words, () => editing.reshape(plane, how), { class: "button chip", hint: `${words} (${key})` }));
  const distance = number("by", editing.by, 0.1, 50, 0.1, unit, `Distance of grow and shrink in ${unit}`, (value) => (editing.by = value));
  section.append(element("div", { class: "chips" }, ...shapes, distance));
  if (deep) section.append(...throughSlices(editing, plane, act));
  if (session.isDrawn(plane)) {
    section.append(element("p", { class: "quiet", text: "You drew this slice by hand; the model leaves it alone." }),
      button("Let the model change it", () => editing.release(plane), { class: "button chip", hint: "Let the model change this slice (Shift + R)" }));
  }
  if (locked) for (const made of section.querySelectorAll<HTMLButtonElement>(".chips .button, .wide")) made.disabled = true;
  return section;
}

function throughSlices(editing: Editing, plane: Plane, act: CorrectActions): HTMLElement[] {
  const span = editing.between(plane);
  const fill = button(span ? `Interpolate slices ${span[0] + 1} to ${span[1] + 1}` : "Interpolate", act.interpolate,
    { class: "button wide", hint: "Fill the slices between two that you corrected (Y)" });
  fill.disabled = span === null;
  const update = button("Update neighbours", act.neighbours, { class: "button wide", hint: "Carry this slice to those beside it; corrected slices stay (U)" });
  return [fill, update, number("Reach", editing.reach, 1, 200, 1, "slices", "Slices that update neighbours reaches on each side", (value) => (editing.reach = Math.round(value)))];
}

function number(words: string, value: number, least: number, most: number, step: number, unit: string, label: string, change: (value: number) => void): HTMLElement {
  const input = element("input", { class: "field number", attributes: { type: "number", min: least, max: most, step, value, "aria-label": label } });
  input.addEventListener("change", () => {
    const asked = Number(input.value);
    if (Number.isFinite(asked) && asked > 0) change(Math.min(most, Math.max(least, asked)));
  });
  return element("label", { class: "number-row" }, element("span", { text: words }), input, element("span", { class: "quiet", text: unit }));
}

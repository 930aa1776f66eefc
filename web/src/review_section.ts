/** The part of the panel that ranks the slices of the chosen object by how sure the model was. */

import { button, element } from "./dom.ts";
import { lookOf, type SliceScore } from "./review.ts";

const SHOWN = 6;
const WORDS = { sure: "sure", fair: "fair", doubtful: "doubtful" };

export interface ReviewActs {
  goTo(place: SliceScore): void;
  nextDoubtful(): void;
}

/** Nothing where fewer than two slices have a score. */
export function reviewSection(order: readonly SliceScore[], position: readonly number[], planeOf: (axis: number) => string, act: ReviewActs): HTMLElement | null {
  if (order.length < 2) return null;
  const planes = new Set(order.map((one) => one.axis));
  const rows = order.slice(0, SHOWN).map((one) => {
    const look = lookOf(one.score);
    const here = position[one.axis] === one.index;
    const where = planes.size > 1 ? `Slice ${one.index + 1}, ${planeOf(one.axis)}` : `Slice ${one.index + 1}`;
    const row = element("button", { class: "review-row", attributes: { type: "button", "aria-current": here ? "true" : null, "data-slice": one.index } },
      element("span", { text: where }), element("span", { class: `score ${look}`, text: `${one.score.toFixed(2)} ${WORDS[look]}` }));
    row.addEventListener("click", () => act.goTo(one));
    return element("li", {}, row);
  });
  return element("section", { class: "section", attributes: { "aria-label": "Review" } },
    element("div", { class: "section-head" }, element("h2", { text: "Review" }), element("span", { class: "quiet", text: `${order.length} slices, least sure first` })),
    element("ol", { class: "review-list" }, ...rows),
    button("Next doubtful slice", act.nextDoubtful, { class: "button wide", hint: "Least sure first (D)" }));
}

/** The part of the panel that shows other versions: whose, how well they agree, taking one over. */

import { button, element } from "./dom.ts";
import type { CaseSession } from "./session.ts";
import type { Version } from "./steps_api.ts";
import type { Versions } from "./versions.ts";

export function versionsSection(session: CaseSession, versions: Versions): HTMLElement | null {
  const { known, chosen } = versions;
  if (!known.length) return null;
  const select = element("select", { class: "field", attributes: { "aria-label": "Version to compare with" } },
    element("option", { text: "None", attributes: { value: "" } }),
    ...known.map((version) => element("option", { text: nameOf(version), attributes: { value: version.revision, selected: version.revision === chosen?.revision } })));
  select.addEventListener("change", () => versions.choose(known.find((version) => String(version.revision) === select.value) ?? null));
  const section = element("section", { class: "section", attributes: { "aria-label": "Versions" } },
    element("div", { class: "section-head" }, element("h2", { text: "Compare with" }), element("span", { class: "quiet", text: "C" })), select);
  if (chosen) section.append(...agreement(session, versions), ...actions(session, versions, chosen));
  return section;
}

function agreement(session: CaseSession, versions: Versions): HTMLElement[] {
  const row = versions.comparison.find((one) => one.label === session.active);
  if (!row) return [element("p", { class: "quiet", text: "The chosen object is in neither version." })];
  const rows: [string, string][] = [
    ["Dice", row.dice.toFixed(3)], [`NSD at ${row.tolerance} ${row.unit}`, row.nsd.toFixed(3)],
    ["Here, there, both", [...row.voxels, row.both].map((count) => count.toLocaleString("en")).join(" · ")],
  ];
  return [element("table", { class: "table" }, element("tbody", {}, ...rows.map(([name, value]) => element("tr", {}, element("th", { text: name, attributes: { scope: "row" } }), element("td", { text: value })))))];
}

/** The outline of the next version, and after the last one none. */
export async function nextVersion(session: CaseSession, versions: Versions): Promise<void> {
  if (!versions.known.length) await versions.refresh();
  if (!versions.known.length) session.say("Nobody else has drawn in this case");
  else session.say(versions.next() ? "In a lighter colour: the version that the panel names" : "No other version is shown");
}

export function toggleDifference(session: CaseSession, versions: Versions): void {
  versions.showDifference(!versions.difference);
  if (!versions.chosen && versions.difference) void nextVersion(session, versions);
}

/** Take the chosen object over from the chosen version. */
export function takeVersion(session: CaseSession, { chosen }: Versions): void {
  if (!chosen) session.say("Choose a version to take it from first (C)");
  else if (session.free) session.step({ step: "take", revision: chosen.revision, label: session.active }, "It is the same already");
}

function actions(session: CaseSession, versions: Versions, chosen: Version): HTMLElement[] {
  const show = button("Difference", () => toggleDifference(session, versions), { class: "button chip", pressed: versions.difference, hint: "Show the difference in colour (X)" });
  const one = button("Take object", () => takeVersion(session, versions), { class: "button chip", hint: "Take over the chosen object from that version (Shift + T)" });
  const all = button("Take all", () => session.step({ step: "take", revision: chosen.revision }, "It is the same already"), { class: "button chip", hint: "Take over the whole version; yours stays in the history" });
  one.disabled = session.lockedObjects.has(session.active);
  const legend = element("p", { class: "legend" }, element("span", { class: "key here", text: "only here" }), element("span", { class: "key there", text: "only there" }), element("span", { class: "key both", text: "both" }));
  return [element("div", { class: "chips" }, show, one, all), ...(versions.difference ? [legend] : [])];
}

function nameOf(version: Version): string {
  const time = new Date(version.at * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
  return version.mine ? `You, before · ${time}` : `${version.annotator} · ${time}`;
}

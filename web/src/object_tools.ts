/** What can be done to the active object as a whole: its coded term, merging, deleting. */

import { choose } from "./choose.ts";
import { button, element } from "./dom.ts";
import type { Editing } from "./editing.ts";
import type { CaseSession } from "./session.ts";
import { findCodes } from "./steps_api.ts";

export function objectTools(session: CaseSession, editing: Editing): HTMLElement | null {
  const active = session.state.objects.find((item) => item.label === session.active);
  if (!active) return null;
  const locked = session.lockedObjects.has(active.label);
  const code = button(active.code ? active.code[2] : "Coded term", () => chooseCode(session), { class: "button chip", hint: active.code ? `${active.code[0]} ${active.code[1]}; choose another (Shift + K)` : "Choose a coded term (Shift + K)" });
  const merge = button("Merge", () => chooseMerge(session, editing), { class: "button chip", hint: `Merge ${active.name} into another object (Shift + M)` });
  const remove = button("Delete", () => editing.remove(), { class: "button chip", hint: `Delete ${active.name} (Shift + Delete)` });
  merge.disabled = locked || session.state.objects.length < 2;
  remove.disabled = locked;
  return element("div", { class: "chips", attributes: { role: "group", "aria-label": `Tools of ${active.name}` } }, code, merge, remove);
}

export function chooseCode(session: CaseSession): void {
  const active = session.state.objects.find((item) => item.label === session.active);
  if (!active) return;
  choose(`What is ${active.name}?`, "Search coded terms, as liver or adren gl", async (words) => {
    const found = (await findCodes(words)).map((code) => {
      const named = /^Object \d+$/.test(active.name) ? code[2] : active.name; // a name that nobody gave gives way
      return { title: code[2], detail: `${code[0]} ${code[1]}`, act: () => session.describe({ ...active, name: named, code }) };
    });
    const none = { title: "No coded term", detail: "as before it was chosen", act: () => session.describe({ ...active, code: null }) };
    return active.code && !words ? [none, ...found] : found;
  });
}

export function chooseMerge(session: CaseSession, editing: Editing): void {
  const active = session.state.objects.find((item) => item.label === session.active);
  const others = session.state.objects.filter((item) => item.label !== session.active && !session.lockedObjects.has(item.label));
  if (!active || !others.length) return;
  choose(`Merge ${active.name} into`, "Search objects", (words) =>
    others.filter((item) => item.name.toLowerCase().includes(words.toLowerCase()))
      .map((item) => ({ title: item.name, detail: `object ${item.label}`, act: () => editing.merge(item.label) })));
}

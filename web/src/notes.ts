/** Words to the person: short notes that go by themselves, errors that stay until they are read. */

import { button, element } from "./dom.ts";

/** What an error says to a person: what happened, and what to do. */
export interface Told {
  title: string;
  detail: string;
}

let place: HTMLElement | null = null;

function notes(): HTMLElement {
  place ??= element("div", { class: "notes", attributes: { role: "status", "aria-live": "polite" } });
  if (!place.isConnected) document.body.append(place);
  return place;
}

export function note(told: Told, bad = false): void {
  const same = [...notes().children].find((child) => child.getAttribute("data-title") === told.title);
  same?.remove();
  const made = element(
    "div", { class: bad ? "note bad" : "note", attributes: { "data-title": told.title, role: bad ? "alert" : null } },
    element("div", { class: "note-words" }, element("p", { text: told.title }), told.detail ? element("p", { text: told.detail }) : null),
    button("✕", () => made.remove(), { class: "icon-button small", hint: "Close" }),
  );
  notes().append(made);
  if (!bad) setTimeout(() => made.remove(), 5000);
}

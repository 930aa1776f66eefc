/** A dialog with a search field and what it finds, to choose one of. */

import { button, element } from "./dom.ts";

export interface Choice {
  title: string;
  detail: string;
  act(): void;
}

/** `find` is asked at every letter; the newest answer counts. */
export function choose(title: string, hint: string, find: (words: string) => Promise<Choice[]> | Choice[]): void {
  if (document.querySelector("dialog")) return;
  const words = element("input", { class: "field", attributes: { type: "search", "aria-label": hint, placeholder: hint, spellcheck: "false" } });
  const list = element("ul", { class: "choices" });
  const found = element("p", { class: "quiet", attributes: { role: "status" } });
  let asked = 0;
  const search = async (): Promise<void> => {
    const turn = ++asked;
    if (!list.children.length) found.textContent = "Searching";
    try {
      const choices = await find(words.value.trim());
      if (turn !== asked) return;
      found.textContent = choices.length ? `${choices.length} found` : "Nothing found";
      list.replaceChildren(...choices.map((choice) => item(choice, () => dialog.close())));
    } catch {
      found.textContent = "The server does not answer";
    }
  };
  const dialog: HTMLDialogElement = element("dialog", { class: "chooser", attributes: { "aria-label": title } },
    element("h2", { text: title }), words, found, list, element("div", { class: "row" }, button("Close", () => dialog.close())));
  words.addEventListener("input", () => void search());
  words.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") (list.querySelector("button") as HTMLElement | null)?.focus();
    if (event.key === "Enter" || event.key === "ArrowDown") event.preventDefault();
  });
  list.addEventListener("keydown", (event) => {
    const buttons = [...list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const next = event.key === "ArrowDown" ? buttons[at + 1] : event.key === "ArrowUp" ? (buttons[at - 1] ?? words) : null;
    if (!next) return;
    next.focus();
    event.preventDefault();
  });
  const back = document.activeElement as HTMLElement | null;
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (back?.isConnected) back.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  void search();
}

function item(choice: Choice, close: () => void): HTMLElement {
  const made = element("button", { class: "menu-item", attributes: { type: "button" } }, choice.title, element("small", { text: choice.detail }));
  made.addEventListener("click", () => {
    close();
    choice.act();
  });
  return element("li", {}, made);
}

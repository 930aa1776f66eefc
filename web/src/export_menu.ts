/** The menu that writes the mask: a button, and a list that opens under it. */

import type { ExportFormat } from "./case_api.ts";
import { button, element } from "./dom.ts";

/** A row of the menu: a file, or the archive. */
export interface ExportRow extends ExportFormat {
  to: "file" | "pacs";
  act(): void;
}

export function exportMenu(rows: readonly ExportRow[]): HTMLElement {
  const list = element("div", { class: "menu-list", attributes: { hidden: true } });
  const open = button("Export", () => {
    list.hidden = !list.hidden;
    open.setAttribute("aria-expanded", String(!list.hidden));
    (list.firstElementChild as HTMLElement | null)?.focus();
  }, { class: "button", hint: "Write the mask to a file, or send it to the archive" });
  open.setAttribute("aria-expanded", "false");
  const close = (): void => {
    list.hidden = true;
    open.setAttribute("aria-expanded", "false");
  };
  for (const row of rows) {
    const item = element("button", { class: "menu-item", attributes: { type: "button", [`data-${row.to === "file" ? "export" : "store"}`]: row.format } }, row.name, element("small", { text: row.use }));
    item.addEventListener("click", () => {
      close();
      row.act();
    });
    list.append(item);
  }
  const menu = element("div", { class: "menu" }, open, list);
  menu.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "Escape") {
      close();
      open.focus();
      event.stopPropagation();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const at = [...list.children].indexOf(document.activeElement as Element);
      const next = list.children[(at + (event.key === "ArrowDown" ? 1 : list.children.length - 1)) % list.children.length];
      (next as HTMLElement).focus();
      event.preventDefault();
    }
  });
  menu.addEventListener("focusout", (event) => {
    if (!menu.contains(event.relatedTarget as Node | null)) close();
  });
  return menu;
}

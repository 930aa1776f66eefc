/** Opens a case: loads it, shows its page, or says in words why not. */

import { inWords } from "./api.ts";
import * as api from "./case_api.ts";
import { listenForKeys } from "./case_keys.ts";
import { CaseView } from "./case_page.ts";
import { showTour } from "./dialogs.ts";
import { button, element } from "./dom.ts";

export async function openCase(page: HTMLElement, id: string): Promise<() => void> {
  page.replaceChildren(element("div", { class: "empty", text: "Opening the case", attributes: { role: "status" } }));
  try {
    const [info, state] = await Promise.all([api.loadCase(id), api.loadState({ id })]);
    document.title = `${info.title} · MedSAM`;
    const view = new CaseView(page, info, state);
    const forget = listenForKeys(view);
    showTour();
    view.focused.focus();
    return () => {
      forget();
      view.close();
    };
  } catch (error) {
    const told = inWords(error);
    page.replaceChildren(element("div", { class: "empty", attributes: { role: "alert" } }, element("p", { text: told.title }), element("p", { text: told.detail }),
      element("p", {}, button("Back to the cases", () => (window.location.hash = "")))));
    return () => undefined;
  }
}

/** Which page is shown: the list, the report, or a case named in the address after the hash. */

import { openList } from "./list_page.ts";
import { openCase } from "./open_case.ts";
import { openReport } from "./report_page.ts";
import { applyTheme } from "./theme.ts";

const page = document.getElementById("page") as HTMLElement;
let close: () => void = () => undefined;
let shown = 0;

async function show(): Promise<void> {
  close();
  close = () => undefined;
  const turn = ++shown;
  const id = /^#\/case\/([A-Za-z0-9_-]+)$/.exec(window.location.hash)?.[1];
  const opened = id ? await openCase(page, id) : window.location.hash === "#/report" ? await openReport(page) : await openList(page);
  if (turn === shown) close = opened;
  else opened();
}

applyTheme();
window.matchMedia("(prefers-color-scheme: light)").addEventListener("change", applyTheme);
window.addEventListener("hashchange", () => void show());
void show();

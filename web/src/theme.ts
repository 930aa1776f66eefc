/** Light or dark: as the system says, until the person chooses. */

const KEY = "medsam-theme";

export function applyTheme(): void {
  const chosen = window.localStorage.getItem(KEY);
  const light = chosen ? chosen === "light" : window.matchMedia("(prefers-color-scheme: light)").matches;
  document.documentElement.dataset["theme"] = light ? "light" : "dark";
}

export function switchTheme(): void {
  const next = document.documentElement.dataset["theme"] === "light" ? "dark" : "light";
  window.localStorage.setItem(KEY, next);
  applyTheme();
}

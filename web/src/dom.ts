/** Elements in one call; styles are classes only, because the content security policy allows no inline style. */

type Child = Node | string | null | undefined | false;
type Listeners = { [K in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[K]) => void };

export interface Traits {
  class?: string;
  text?: string;
  on?: Listeners;
  attributes?: Record<string, string | number | boolean | null | undefined>;
}

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  traits: Traits = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (traits.class) made.className = traits.class;
  if (traits.text !== undefined) made.textContent = traits.text;
  for (const [name, value] of Object.entries(traits.attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const [name, listener] of Object.entries(traits.on ?? {})) made.addEventListener(name, listener as EventListener);
  made.append(...children.filter((child): child is Node | string => Boolean(child)));
  return made;
}

/** A button with words; `hint` is its tooltip and, where the words are a symbol, its name for screen readers. */
export function button(text: string, act: () => void, traits: { class?: string; hint?: string; pressed?: boolean } = {}): HTMLButtonElement {
  return element("button", {
    class: traits.class ?? "button",
    text,
    on: { click: () => act() },
    attributes: { type: "button", title: traits.hint, "aria-label": traits.hint && text.length < 3 ? traits.hint : null, "aria-pressed": traits.pressed === undefined ? null : String(traits.pressed) },
  });
}

const SHAPES: Record<string, string> = {
  smart: "M4 4h3M4 4v3M20 4h-3M20 4v3M4 20h3M4 20v-3M20 20h-3M20 20v-3M12 9v6M9 12h6",
  scribble: "M4 16c2-8 5-10 6-8s-3 8-1 9 4-8 6-7-1 6 1 6 3-2 4-4",
  brush: "M20 4c-5 2-9 6-11 10l2 2c4-2 8-6 9-12zM8 15c-2 0-3 2-3 3s-1 2-2 2c4 1 8 0 8-3z",
  eraser: "M14 4l6 6-9 9H7l-4-4zM9 9l6 6M11 19h9",
  axes: "M5 19L19 5M8 8l8 8",
  pan: "M12 3v18M3 12h18M12 3l-2 2M12 3l2 2M12 21l-2-2M12 21l2-2M3 12l2-2M3 12l2 2M21 12l-2-2M21 12l-2 2",
  undo: "M8 5L4 9l4 4M4 9h9a6 6 0 0 1 0 12h-3",
  redo: "M16 5l4 4-4 4M20 9h-9a6 6 0 0 0 0 12h3",
  eye: "M2 12c3-5 6-7 10-7s7 2 10 7c-3 5-6 7-10 7s-7-2-10-7zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  hidden: "M4 4l16 16M2 12c1-2 3-4 5-5M10 5c5-1 9 2 12 7-1 2-2 3-3 4M14 19c-5 1-9-2-12-7",
  locked: "M7 11V8a5 5 0 0 1 10 0v3M5 11h14v9H5z",
  unlocked: "M7 11V8a5 5 0 0 1 9-3M5 11h14v9H5z",
  back: "M15 5l-7 7 7 7",
  theme: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  play: "M8 5l11 7-11 7z",
  surface: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5",
  planes: "M4 4h7v16H4zM13 4h7v7h-7zM13 13h7v7h-7z",
};

/** A line drawing of 24 by 24. */
export function icon(name: keyof typeof SHAPES): SVGSVGElement {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SHAPES[name] ?? "");
  svg.append(path);
  return svg;
}

export function iconButton(name: keyof typeof SHAPES, label: string, act: () => void, extra = ""): HTMLButtonElement {
  const made = element(
    "button",
    { class: `icon-button ${extra}`, on: { click: () => act() }, attributes: { type: "button", "aria-label": label, title: label } },
  );
  made.append(icon(name));
  return made;
}

/** Build a part of the page anew and give the focus back to the control of the same name, so that the keyboard does not lose its place. */
export function keepFocus(part: HTMLElement, build: () => void): void {
  const before = document.activeElement;
  const name = before instanceof HTMLElement && part.contains(before) ? nameOf(before) : null;
  build();
  if (name === null) return;
  const next = [...part.querySelectorAll<HTMLElement>("button, select, input")].find((control) => nameOf(control) === name);
  (next ?? part.querySelector<HTMLElement>("button, select, input"))?.focus({ preventScroll: true });
}

function nameOf(control: HTMLElement): string {
  const section = control.closest("section")?.getAttribute("aria-label") ?? "";
  return `${section}/${control.getAttribute("aria-label") ?? control.title ?? ""}/${control.title || control.getAttribute("aria-label") ? "" : control.textContent}`;
}

/** The sheet of keys and the tour of four steps. */

import { button, element } from "./dom.ts";

export const KEYS: [string, string][] = [
  ["Drag", "box around the object"],
  ["Click", "a point inside the object; Alt-click a point outside it"],
  ["Wheel, ↑ ↓", "next and previous slice; Page Up and Page Down by ten"],
  ["Ctrl + wheel, + −", "zoom; middle button or the hand drags the picture"],
  ["Right drag", "window: right is wider, up is brighter"],
  ["Shift + drag", "move the crosshair in all planes"],
  ["Shift + ← → ↑ ↓", "move the crosshair by keys, with Ctrl by ten; Enter clicks inside, Alt + Enter outside"],
  ["K", "first and second corner of a box at the crosshair, or both ends of each axis"],
  ["S  R  A  B  E  H", "tools: box and click, scribble, axes, brush, eraser, hand"],
  ["[  ], T", "smaller and larger brush; paint only values as under the brush"],
  ["N, 1 to 9", "new object; choose an object"],
  ["Shift + N, Shift + K", "name of the object; its coded term"],
  ["Shift + L, Shift + H", "lock or hide the object"],
  ["Shift + M, Shift + Delete", "merge the object into another; delete it"],
  ["O, L, J", "fill holes; keep the largest part; smooth"],
  [". ,", "grow and shrink"],
  ["Q", "shapes change this slice or the whole object"],
  ["Y, U", "interpolate between corrected slices; update neighbours"],
  ["Shift + R", "let the model change a slice drawn by hand"],
  ["C, X, Shift + T", "outline of another version; difference in colour; take its object over"],
  ["Delete", "clear the object from this slice"],
  ["G", "outline the object through all marked slices"],
  ["D", "next doubtful slice, the least sure first"],
  ["Ctrl + Z, Ctrl + Y", "undo and redo, without end, also after a reload"],
  ["W, I", "next window; invert"],
  ["P, V, F", "one or three planes; surfaces in 3D; fit the picture"],
  ["Space", "play through the slices, and stop"],
  ["M", "show or hide the masks"],
  ["Esc", "cancel what is half drawn; back to the list"],
  ["?", "this sheet"],
];

function show(dialog: HTMLDialogElement, closed?: () => void): void {
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed?.();
  });
  dialog.showModal();
}

export function showKeys(): void {
  if (document.querySelector("dialog")) return;
  const rows = KEYS.map(([keys, words]) => element("div", {},
    element("dt", {}, ...keys.split(", ").flatMap((key, at) => [at ? ", " : null, element("kbd", { text: key })])),
    element("dd", { text: words })));
  const dialog = element(
    "dialog", { class: "sheet", attributes: { "aria-label": "Keys" } }, element("h2", { text: "Keys and gestures" }), element("dl", { class: "keys" }, ...rows),
    element("div", { class: "row" }, button("Close", () => dialog.close(), { class: "button main" })),
  );
  show(dialog);
}

const STEPS: [string, string][] = [
  ["Draw a box", "Drag a box around what you want to outline. The outline appears as soon as you let go."],
  ["Correct it by clicks", "Click inside what is missing. Hold Alt and click what does not belong. Brush and eraser do the rest."],
  ["Go through the scan", "Mark the object on a few slices, then press “Outline through slices”. Doubtful slices come first for review."],
  ["Nothing is lost", "Everything is saved as it happens, and undo has no end. Press ? at any time for the keys."],
];
const SEEN = "medsam-tour-seen";

export function showTour(again = false): void {
  if (!again && window.localStorage.getItem(SEEN)) return;
  let step = 0;
  const title = element("h2");
  const words = element("p");
  const count = element("span", { class: "quiet grow" });
  const next = button("Next", () => (step === STEPS.length - 1 ? dialog.close() : draw(++step)), { class: "button main" });
  const draw = (at: number): void => {
    [title.textContent, words.textContent] = STEPS[at] as [string, string];
    count.textContent = `${at + 1} of ${STEPS.length}`;
    next.textContent = at === STEPS.length - 1 ? "Start" : "Next";
  };
  draw(0);
  const dialog: HTMLDialogElement = element(
    "dialog", { class: "tour", attributes: { "aria-label": "How it works" } }, title, words,
    element("div", { class: "row" }, count, button("Skip", () => dialog.close()), next),
  );
  show(dialog, () => window.localStorage.setItem(SEEN, "yes"));
}

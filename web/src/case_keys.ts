/** The keys of the page of a case; a field that is being written in keeps its keys. */

import type { CaseView } from "./case_page.ts";
import { showKeys } from "./dialogs.ts";
import { toScreen, toSlice, type Point } from "./geometry.ts";
import { chooseCode, chooseMerge } from "./object_tools.ts";
import type { Tool } from "./pane.ts";
import { nextVersion, takeVersion, toggleDifference } from "./versions_section.ts";
import { nextPreset } from "./windows.ts";

const TOOL_KEYS: Record<string, Tool> = { s: "smart", r: "scribble", a: "axes", b: "brush", e: "eraser", h: "pan" };
const ARROWS: Record<string, Point> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function listenForKeys(view: CaseView): () => void {
  const listen = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (document.querySelector("dialog") || target.closest("input, select, textarea, .menu-list")) return;
    if (target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " ")) return;
    const taken = event.ctrlKey || event.metaKey ? withControl(view, event) : moves(view, event) || plain(view, event);
    if (!taken) return;
    event.preventDefault();
  };
  window.addEventListener("keydown", listen);
  return () => window.removeEventListener("keydown", listen);
}

function withControl(view: CaseView, event: KeyboardEvent): boolean {
  const key = event.key.toLowerCase();
  if (event.shiftKey && ARROWS[event.key]) return moves(view, event);
  if (key === "z" && !event.shiftKey) view.session.undo();
  else if (key === "y" || key === "z") view.session.redo();
  else return false;
  return true;
}

function moves(view: CaseView, event: KeyboardEvent): boolean {
  const { session, focused } = view;
  const step = ARROWS[event.key];
  if (step && event.shiftKey) {
    view.crosshairShown = true;
    const [x, y] = toScreen(focused.matrix(), session.crosshair(focused.plane));
    const scale = Math.max(1, Math.hypot(focused.matrix().a, focused.matrix().b)) * (event.ctrlKey || event.metaKey ? 10 : 1);
    session.moveTo(focused.plane, toSlice(focused.matrix(), [x + step[0] * scale, y + step[1] * scale]));
  } else if (step) session.scroll(focused.plane, step[0] + step[1]);
  else if (event.key === "PageDown") session.scroll(focused.plane, 10);
  else if (event.key === "PageUp") session.scroll(focused.plane, -10);
  else if (event.key === "Home") session.goTo(focused.plane, 0);
  else if (event.key === "End") session.goTo(focused.plane, focused.plane.count - 1);
  else if (event.key === "Enter") session.points(focused.plane, [session.crosshair(focused.plane)], event.altKey);
  else return false;
  return true;
}

function plain(view: CaseView, event: KeyboardEvent): boolean {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const shifted = event.shiftKey ? SHIFTED[key] : undefined;
  const tool = TOOL_KEYS[key];
  if (shifted) shifted(view);
  else if (tool) view.setTool(tool);
  else if (/^[1-9]$/.test(key)) view.session.activate(Number(key));
  else return (ACTS[key]?.(view), key in ACTS);
  return true;
}

/** With Shift: what concerns the chosen object as a whole. */
const SHIFTED: Record<string, (view: CaseView) => void> = {
  r: (view) => view.editing.release(view.focused.plane),
  t: (view) => takeVersion(view.session, view.versions),
  h: (view) => view.session.toggleHidden(view.session.active),
  l: (view) => view.session.toggleLocked(view.session.active),
  k: (view) => chooseCode(view.session),
  m: (view) => chooseMerge(view.session, view.editing),
  n: (view) => view.focusName(),
  Delete: (view) => view.editing.remove(),
  Backspace: (view) => view.editing.remove(),
};

const ACTS: Record<string, (view: CaseView) => void> = {
  "?": () => showKeys(),
  n: (view) => view.session.addObject(),
  k: (view) => view.mark(),
  w: (view) => view.setWindow(nextPreset(view.session.presets, view.session.windowing)),
  i: (view) => view.setWindow({ invert: !view.session.windowing.invert }),
  p: (view) => view.showPlanes(!view.three),
  v: (view) => view.showSurfaces(!view.surfacesShown),
  " ": (view) => view.travel.cine.toggle(),
  f: (view) => view.focused.fit(),
  g: (view) => void view.jobs.outline(),
  u: (view) => view.updateNeighbours(),
  y: (view) => view.interpolate(),
  q: (view) => view.toggleWhole(),
  o: (view) => view.editing.reshape(view.focused.plane, "fill"),
  l: (view) => view.editing.reshape(view.focused.plane, "largest"),
  j: (view) => view.editing.reshape(view.focused.plane, "smooth"),
  ".": (view) => view.editing.reshape(view.focused.plane, "grow"),
  ",": (view) => view.editing.reshape(view.focused.plane, "shrink"),
  t: (view) => view.rangeUnder(),
  c: (view) => void nextVersion(view.session, view.versions),
  x: (view) => toggleDifference(view.session, view.versions),
  d: (view) => view.nextDoubtful(),
  m: (view) => view.session.toggleHiddenAll(),
  "+": (view) => view.focused.zoom(1.25),
  "=": (view) => view.focused.zoom(1.25),
  "-": (view) => view.focused.zoom(0.8),
  "[": (view) => view.setBrush(view.brushMm / 1.25),
  "]": (view) => view.setBrush(view.brushMm * 1.25),
  Delete: (view) => view.session.clearSlice(view.focused.plane),
  Backspace: (view) => view.session.clearSlice(view.focused.plane),
  Escape: (view) => {
    if (!view.focused.cancel()) window.location.hash = "";
  },
};

/** The tools at the left: one of them is chosen. */

import { element, iconButton } from "./dom.ts";
import type { Tool } from "./pane.ts";

const TOOLS: [Tool, string, string][] = [
  ["smart", "Box and click (S)", "Drag a box, or click inside the object. Alt-click what does not belong."],
  ["scribble", "Scribble (R)", "Draw a line inside the object. Alt draws what does not belong."],
  ["axes", "Long and short axis (A)", "Draw the longest axis, then the one across it."],
  ["brush", "Brush (B)", "Paint. Alt erases."],
  ["eraser", "Eraser (E)", "Erase. Alt paints."],
  ["pan", "Hand (H)", "Drag the picture."],
];

export class ToolBar {
  readonly root: HTMLElement;
  private readonly buttons: Map<Tool, HTMLButtonElement>;

  constructor(choose: (tool: Tool) => void) {
    this.buttons = new Map(TOOLS.map(([tool, words]) => [tool, iconButton(tool, words, () => choose(tool))]));
    this.root = element("nav", { class: "tools", attributes: { "aria-label": "Tools" } }, ...this.buttons.values());
  }

  /** Show a tool as the chosen one; what to do with it. */
  show(tool: Tool): string {
    for (const [name, made] of this.buttons) made.setAttribute("aria-pressed", String(name === tool));
    return TOOLS.find(([name]) => name === tool)?.[2] ?? "";
  }
}

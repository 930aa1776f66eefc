/** The page of one case: panes, tools and panel around a session. */

import { Activity } from "./activity.ts";
import { AwayError, inWords } from "./api.ts";
import * as api from "./case_api.ts";
import { Company } from "./company.ts";
import { showKeys } from "./dialogs.ts";
import { button, element, iconButton, keepFocus } from "./dom.ts";
import { Editing } from "./editing.ts";
import type { Plane, Point } from "./geometry.ts";
import { Finishing } from "./finishing.ts";
import { JobRunner } from "./jobs.ts";
import { describe } from "./list_page.ts";
import { Looking } from "./looking.ts";
import { Measuring } from "./measuring.ts";
import { note } from "./notes.ts";
import type { Sending } from "./outbox.ts";
import { Pane, type Gestures, type Scene, type Tool } from "./pane.ts";
import { nextAfter, ranked, type SliceScore } from "./review.ts";
import { CaseSession } from "./session.ts";
import { sidePanel, type PanelState } from "./side_panel.ts";
import { Signs } from "./signs.ts";
import { SurfacePane } from "./surface_pane.ts";
import { switchTheme } from "./theme.ts";
import { rangeUnder, type Range } from "./thresholds.ts";
import { ToolBar } from "./tool_bar.ts";
import { Travel } from "./travel.ts";
import { Versions } from "./versions.ts";
import { nextVersion } from "./versions_section.ts";
import { dragged, type Windowing } from "./windows.ts";

const WORK = ["pointerdown", "pointerup", "wheel", "keydown"] as const;
const VERSIONS_MS = 15_000; // how soon a page sees what somebody else saved
const REST_MS = 100; // who scrolls does not read the panel
const FOLLOW_MS = 4000; // how soon a page sees what another page of the same person did

/** Everything that the parts of the page share. */
export class CaseView {
  readonly session: CaseSession;
  tool: Tool = "smart";
  panes: Pane[] = [];
  focused: Pane;
  three = false;
  readonly travel: Travel;
  private surfaces: SurfacePane | null = null;
  private reviewed: SliceScore | null = null;
  private readonly all: Pane[];
  private readonly panesBox = element("main", { class: "panes" });
  private readonly side = element("aside", { class: "side", attributes: { "aria-label": "Objects and view" } });
  private readonly readout = element("div", { class: "readout" });
  private readonly signs = new Signs();
  private readonly tools = new ToolBar((tool) => this.setTool(tool));
  private readonly measuring: Measuring;
  private readonly looking: Looking;
  private readonly activity: Activity;
  private readonly company: Company;
  private readonly working = (): void => this.work();
  private readonly undoButton = iconButton("undo", "Undo (Ctrl+Z)", () => this.session.undo());
  private readonly redoButton = iconButton("redo", "Redo (Ctrl+Y)", () => this.session.redo());
  private readonly planesButton = iconButton("planes", "Three planes (P)", () => this.showPlanes(!this.three));
  private readonly surfaceButton = iconButton("surface", "Surfaces in 3D (V)", () => this.showSurfaces(!this.surfaces));
  private readonly finishing: Finishing;
  readonly editing: Editing;
  readonly versions: Versions;
  readonly jobs: JobRunner;
  private readonly panel: PanelState;
  private panelDue = false;
  private readonly refreshing: ReturnType<typeof setInterval>;
  private readonly following: ReturnType<typeof setInterval>;
  private startedWindow = { level: 0, width: 1, invert: false };

  constructor(page: HTMLElement, info: api.CaseInfo, state: api.CaseState) {
    this.session = new CaseSession(info, state, {
      draw: () => this.draw(),
      panel: () => this.drawPanel(),
      saving: (sending, waiting) => this.showSaving(sending, waiting),
      problem: (error) => this.problem(error),
      busy: (words) => this.say(words),
    });
    this.measuring = new Measuring(this.session, { measured: () => this.onMeasured(), problem: (error) => this.problem(error) });
    this.looking = new Looking({
      look: (axis, index) => api.lookAt(info, axis, index), ask: (axis, index) => api.isEmbedded(info, axis, index), told: (state) => this.signs.ready(state),
    });
    this.finishing = new Finishing(info, { say: (words) => this.say(words), problem: (error) => this.problem(error) });
    this.activity = new Activity((events) => api.recordActivity(info, events));
    this.company = new Company(state.annotator, { stay: () => api.stay(info), leave: () => api.leave(info), show: () => void nextVersion(this.session, this.versions) });
    for (const kind of WORK) window.addEventListener(kind, this.working, { passive: true });
    this.travel = new Travel(this.session, () => this.focused.plane);
    this.editing = new Editing(this.session);
    this.versions = new Versions(info, { draw: () => this.draw(), panel: () => this.drawPanel(), problem: (error) => this.problem(error) });
    this.jobs = new JobRunner(this.session, { changed: () => this.onJob(), problem: (error) => this.problem(error) });
    this.all = this.session.planes.map((plane) => new Pane(plane, () => this.scene(plane), this.gestures(plane), `${plane.name} slices of ${info.title}`));
    this.focused = this.all[0] as Pane;
    this.panel = {
      progress: null, measured: [], brushMm: info.spacing ? Math.max(1, info.spacing[2] * 6) : 6, setBrush: (mm) => this.setBrush(mm), range: null,
      setRange: (range) => this.setRange(range), editing: this.editing, versions: this.versions, plane: this.focused.plane,
    };
    this.panesBox.dataset["tool"] = this.tool;
    page.replaceChildren(element("div", { class: "case-page" }, this.top(info), this.tools.root, this.panesBox, this.side));
    this.showPlanes(false);
    this.drawPanel();
    this.setTool("smart");
    this.measuring.start();
    void this.versions.refresh();
    this.refreshing = setInterval(() => {
      if (document.visibilityState === "visible") void this.versions.refresh();
    }, VERSIONS_MS);
    this.following = setInterval(() => {
      if (document.visibilityState === "visible" && !this.jobs.running) void this.session.follow().catch((error: unknown) => this.problem(error));
    }, FOLLOW_MS);
  }

  get brushMm(): number {
    return this.panel.brushMm;
  }

  private top(info: api.CaseInfo): HTMLElement {
    return element("header", { class: "top" },
      iconButton("back", "Back to the cases", () => (window.location.hash = "")),
      element("div", { class: "top-title" }, element("h1", { text: info.title }), element("small", { text: describe(info) })),
      this.undoButton, this.redoButton, this.signs.saving, this.signs.reading, this.company.root, element("div", { class: "grow" }),
      ...(this.session.planes.length > 1 ? [this.planesButton, this.surfaceButton] : []),
      iconButton("theme", "Light or dark", switchTheme),
      button("?", showKeys, { class: "icon-button", hint: "Keys and gestures (?)" }),
      element("div", { class: "divider" }), ...this.finishing.controls());
  }

  private scene(plane: Plane): Scene {
    const { session } = this;
    const index = session.position[plane.axis];
    return {
      slice: session.slices.get(plane.axis, index), labels: session.labelsAt(plane), other: this.versions.at(plane.axis, index), difference: this.versions.difference,
      otherVersion: `${session.labelsVersion}/${plane.axis}/${index}/${this.versions.chosen?.revision ?? 0}`, labelsVersion: `${session.labelsVersion}/${plane.axis}/${index}`,
      colors: session.colors, hidden: session.hidden, active: session.active, opacity: session.opacity, windowing: session.windowing,
      index, crosshair: this.three ? session.crosshair(plane) : this.keyboardCrosshair(plane), drawn: session.drawnOn(plane), tool: this.tool, brushMm: this.panel.brushMm, busy: false,
    };
  }

  private keyboardCrosshair(plane: Plane): Point | null {
    return this.crosshairShown ? this.session.crosshair(plane) : null;
  }

  crosshairShown = false;

  private gestures(plane: Plane): Gestures {
    const { session } = this;
    return {
      scroll: (steps) => session.scroll(plane, steps),
      window: (dx, dy, begin) => {
        if (begin) this.startedWindow = session.windowing;
        this.setWindow(dragged(session.windowing, dx, dy, this.startedWindow.width));
      },
      box: (box) => {
        this.say("");
        session.box(plane, box);
      },
      click: (at, outside) => session.points(plane, [at], outside),
      scribble: (points, outside) => session.points(plane, points, outside),
      axes: (long, short) => session.axes(plane, long, short),
      stroke: (from, to, erase, radius) => session.stroke(plane, from, to, erase, radius, erase ? null : this.panel.range),
      strokeEnd: () => session.strokeEnd(),
      move: (at) => session.moveTo(plane, at),
      hover: (words) => (this.readout.textContent = words),
      focus: () => {
        this.focused = this.all.find((pane) => pane.plane === plane) as Pane;
        this.panel.plane = plane;
        this.drawPanel();
      },
    };
  }

  /** A corner of a box or an end of an axis at the crosshair. */
  mark(): void {
    const { focused } = this;
    this.crosshairShown = true;
    this.say(focused.mark(this.session.crosshair(focused.plane)));
  }

  setTool(tool: Tool): void {
    this.tool = tool;
    this.panesBox.dataset["tool"] = tool;
    this.say(this.tools.show(tool));
    this.draw();
  }

  setBrush(mm: number): void {
    this.panel.brushMm = Math.min(30, Math.max(0.5, mm));
    this.draw();
  }

  setRange(range: Range | null): void {
    this.panel.range = range;
    this.drawPanel();
  }

  /** Take the brush's range from what lies under it, or paint everything again. */
  rangeUnder(): void {
    const at = this.focused.under;
    const { plane } = this.focused;
    const slice = this.session.slices.get(plane.axis, this.session.position[plane.axis]);
    const radius: Point = [this.brushMm / plane.columnMm, this.brushMm / plane.rowMm];
    const range = this.panel.range ? null : rangeUnder(slice, at ?? this.session.crosshair(plane), radius);
    this.setRange(range);
    this.say(range ? `The brush paints ${range.low} to ${range.high} only` : "The brush paints every value");
  }

  showPlanes(three: boolean): void {
    this.three = three && this.all.length > 1;
    this.planesButton.setAttribute("aria-pressed", String(this.three));
    this.panesBox.classList.toggle("three", this.three);
    this.panes = this.three ? this.all : [this.focused];
    this.layOut();
  }

  /** Surfaces beside the planes; they are made when somebody asks for them. */
  showSurfaces(shown: boolean): void {
    if (shown === (this.surfaces !== null) || this.all.length === 1) return;
    this.surfaces?.close();
    const { session } = this;
    this.surfaces = !shown ? null : new SurfacePane(
      () => ({
        shape: session.info.shape, affine: session.info.affine ?? [], position: session.position, plane: this.focused.plane, state: this.measuring.outlined,
        colors: new Map([...session.colors].filter(([label]) => !session.hidden.has(label))),
      }),
      { load: () => api.loadSurfaces(session.info), goTo: (index) => session.moveAll(index), failed: (error) => this.problem(error) });
    this.surfaceButton.setAttribute("aria-pressed", String(shown));
    this.layOut();
  }

  get surfacesShown(): boolean {
    return this.surfaces !== null;
  }

  private layOut(): void {
    this.panesBox.classList.toggle("beside", this.surfaces !== null);
    const bar = this.focused.plane.count > 1 || this.three ? this.travel.root : null;
    const grid = element("div", { class: "pane-grid" }, ...this.panes.map((pane) => pane.root), this.surfaces?.root);
    this.panesBox.replaceChildren(grid, ...(bar ? [bar] : []), this.readout, this.signs.hint);
    this.draw();
  }

  /** Level, width or inversion of the picture. */
  setWindow(change: Partial<Windowing>): void {
    this.session.windowing = { ...this.session.windowing, ...change };
    this.redraw();
  }

  draw(): void {
    this.session.need(this.panes.map((pane) => pane.plane));
    this.versions.need(this.panes.map(({ plane }): [number, number] => [plane.axis, this.session.position[plane.axis]]));
    this.followSlice();
    for (const pane of this.panes) pane.draw();
    this.travel.draw();
    this.surfaces?.update();
    if (!this.travel.cine.playing) this.looking.at(this.focused.plane.axis, this.session.position[this.focused.plane.axis]);
  }

  /** The panel tells of the slice at which one rests; to build it at each slice would cost frames of the scrolling. */
  private followSlice(): void {
    const { plane } = this.focused;
    const told = `${plane.axis}/${this.session.position[plane.axis]}`;
    if (told === this.toldOf) return;
    this.toldOf = told;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.drawPanel(), REST_MS);
  }

  private toldOf = "";
  private resting: ReturnType<typeof setTimeout> | undefined;

  drawPanel(): void {
    if (this.panelDue) return;
    this.panelDue = true;
    requestAnimationFrame(() => {
      this.panelDue = false;
      if (this.side.contains(document.activeElement) && document.activeElement instanceof HTMLInputElement) return;
      const { state } = this.session;
      this.undoButton.disabled = !state.canUndo;
      this.redoButton.disabled = !state.canRedo;
      keepFocus(this.side, () => this.side.replaceChildren(...sidePanel(this.session, this.panel, {
        outline: () => void this.jobs.outline(), stop: () => void this.jobs.stop(), neighbours: () => this.updateNeighbours(), interpolate: () => this.interpolate(), nextDoubtful: () => this.nextDoubtful(), goTo: (place) => this.review(place), redraw: () => this.redraw(),
        setWindow: (change) => this.setWindow(change),
      })));
    });
  }

  say(words: string): void {
    this.signs.say(words);
  }

  private showSaving(sending: Sending, waiting: number): void {
    this.signs.save(sending, waiting);
    if (sending !== "saved") return;
    if (this.versions.chosen) void this.versions.refresh();
    if (this.session.state.revision !== null) this.finishing.begun();
    this.measuring.start();
  }

  private problem(error: unknown): void {
    if (error instanceof AwayError) this.showSaving("away", 0);
    else note(inWords(error), true);
  }

  private onMeasured(): void {
    this.panel.measured = this.measuring.measured;
    this.travel.draw();
    this.surfaces?.update();
    this.drawPanel();
  }

  /** A job began, moved or ended. */
  private onJob(): void {
    this.panel.progress = this.jobs.progress;
    if (!this.jobs.running) this.measuring.start();
    this.drawPanel();
  }

  redraw(): void {
    this.draw();
    this.drawPanel();
  }

  updateNeighbours(): void {
    const { plane } = this.focused;
    const here = this.session.position[plane.axis];
    void this.jobs.neighbours(plane.axis, here, this.editing.reach, this.editing.corrected(plane).filter((slice) => slice !== here));
  }

  interpolate(): void {
    this.editing.interpolate(this.focused.plane);
  }

  /** Put the cursor into the name of the chosen object. */
  focusName(): void {
    const field = this.side.querySelector<HTMLInputElement>(".object.active .object-name");
    field?.focus();
    field?.select();
  }

  toggleWhole(): void {
    this.editing.whole = !this.editing.whole;
    this.say(this.editing.whole ? "Shapes change the whole object" : "Shapes change this slice");
    this.drawPanel();
  }

  /** The slice that the model was least sure of, and after it the next. */
  nextDoubtful(): void {
    const next = nextAfter(ranked(this.session.scores, this.session.active), this.session.position, this.reviewed);
    if (next) this.review(next);
    else this.say("No slice has a score yet. Prompt the model first.");
  }

  private review(place: SliceScore): void {
    const pane = this.all.find((item) => item.plane.axis === place.axis);
    if (!pane) return;
    this.reviewed = place;
    if (!this.three && pane !== this.focused) {
      this.focused = pane;
      this.showPlanes(false);
    }
    this.session.goTo(pane.plane, place.index);
    this.say(`Slice ${place.index + 1}: the model’s score is ${place.score.toFixed(2)}`);
    this.drawPanel();
  }

  /** Somebody works: in which phase, for the report of the study. */
  private work(): void {
    const { session } = this;
    const drawn = session.state.objects.some((item) => this.panel.measured.some((one) => one.label === item.label && item.label === session.active));
    const reviewing = this.reviewed !== null && session.position[this.reviewed.axis] === this.reviewed.index;
    this.activity.note(reviewing || this.finishing.done ? "review" : drawn ? "refining" : "marking");
  }

  close(): void {
    for (const kind of WORK) window.removeEventListener(kind, this.working);
    this.activity.close();
    this.company.close();
    clearInterval(this.following);
    clearTimeout(this.resting);
    clearInterval(this.refreshing);
    this.travel.cine.stop();
    this.looking.close();
    this.surfaces?.close();
    this.session.close();
    void this.jobs.stop();
  }
}

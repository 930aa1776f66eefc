/** How values become grey: window presets by modality, and the table that turns 16 bit into the screen's 8. */

export interface Windowing {
  level: number;
  width: number;
  invert: boolean;
}

// The same windows as medsam.imaging.modality; the page may show others, the model always sees the project's own.
export const CT_WINDOWS: Record<string, [number, number]> = {
  "Soft tissue": [400, 40],
  Lung: [1500, -600],
  Brain: [80, 40],
  Bone: [1800, 400],
  Liver: [150, 30],
  Mediastinum: [350, 50],
  Angiography: [600, 300],
};

export interface WindowPreset {
  name: string;
  level: number;
  width: number;
}

/** Presets of a modality: windows in HU for a CT; else the model's own range and shares of it. */
export function presetsOf(modality: string | null, low: number, high: number): WindowPreset[] {
  const baked = low === 0 && high === 255; // a CT that was windowed to 8 bits holds no HU any more
  if (modality === "CT" && !baked) return Object.entries(CT_WINDOWS).map(([name, [width, level]]) => ({ name, level, width }));
  const range = Math.max(high - low, 1e-6);
  return [
    { name: "Whole range", level: (low + high) / 2, width: range },
    { name: "Brighter", level: low + range * 0.3, width: range * 0.6 },
    { name: "More contrast", level: low + range * 0.45, width: range * 0.5 },
    { name: "Darker", level: low + range * 0.65, width: range * 1.1 },
  ];
}

/** The preset after the one that is shown, or the first. */
export function nextPreset(presets: readonly WindowPreset[], now: Windowing): Partial<Windowing> {
  const at = presets.findIndex((preset) => preset.level === now.level && preset.width === now.width);
  const next = presets[(at + 1) % presets.length];
  return next ? { level: next.level, width: next.width } : {};
}

/** Grey for each value of 16 bits, by its code. */
export function greyTable(windowing: Windowing, signed: boolean): Uint32Array {
  const table = new Uint32Array(65536);
  const low = windowing.level - windowing.width / 2;
  const factor = 255 / Math.max(windowing.width, 1e-9);
  for (let code = 0; code < 65536; code++) {
    const stored = signed && code > 32767 ? code - 65536 : code;
    let grey = (stored - low) * factor;
    grey = grey < 0 ? 0 : grey > 255 ? 255 : Math.round(grey);
    if (windowing.invert) grey = 255 - grey;
    table[code] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

/** The window after a drag of so many screen pixels: right is wider, down is brighter, in shares of the range. */
export function dragged(start: Windowing, dx: number, dy: number, range: number): Windowing {
  const unit = range / 512;
  return { ...start, width: Math.max(unit / 4, start.width + dx * unit), level: start.level + dy * unit };
}

/** What redo can reach, from the moves of an annotator. */

export interface Move {
  kind: "save" | "undo" | "redo";
  revision: number | null;
}

/** Whether something was undone since the last save and not yet redone. */
export function redoable(moves: readonly Move[]): boolean {
  let undone = 0;
  for (const move of moves) undone = move.kind === "undo" ? undone + 1 : move.kind === "redo" ? undone - 1 : 0;
  return undone > 0;
}

/** How sure the model was of each slice, and which one to look at next. */

export interface SliceScore {
  label: number;
  axis: number;
  index: number;
  score: number;
}

/** The slices of an object, the least sure first; slices of one score in order. */
export function ranked(scores: Iterable<SliceScore>, label: number): SliceScore[] {
  return [...scores].filter((one) => one.label === label).sort((one, two) => one.score - two.score || one.axis - two.axis || one.index - two.index);
}

/** The slice after the one that is looked at, and the least sure one where that is none of them. */
export function nextAfter(order: readonly SliceScore[], position: readonly number[], last: SliceScore | null): SliceScore | null {
  const at = order.findIndex((one) => last !== null && one.axis === last.axis && one.index === last.index && position[one.axis] === one.index);
  return order[(at + 1) % order.length] ?? null;
}

/** In words and for the eye: the score is the IoU to expect, and 0.8 is a Dice of 0.89. */
export function lookOf(score: number): "sure" | "fair" | "doubtful" {
  return score >= 0.8 ? "sure" : score >= 0.65 ? "fair" : "doubtful";
}

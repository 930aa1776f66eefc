/** How a body in mm (L, P, S) is turned and laid on the screen: 3 x 3 matrices, column by column. */

export type Matrix3 = readonly [number, number, number, number, number, number, number, number, number];
export type Vector3 = readonly [number, number, number];

/** Seen from the front, the patient upright: left is on the right, superior above; the third row points to who looks. */
export const FRONT: Matrix3 = [1, 0, 0, 0, 0, -1, 0, 1, 0];

export function times(one: Matrix3, two: Matrix3): Matrix3 {
  const at = (row: number, column: number): number => [0, 1, 2].reduce((sum, k) => sum + (one[row + 3 * k] as number) * (two[k + 3 * column] as number), 0);
  return [at(0, 0), at(1, 0), at(2, 0), at(0, 1), at(1, 1), at(2, 1), at(0, 2), at(1, 2), at(2, 2)];
}

export function apply(matrix: Matrix3, [x, y, z]: Vector3): Vector3 {
  return [matrix[0] * x + matrix[3] * y + matrix[6] * z, matrix[1] * x + matrix[4] * y + matrix[7] * z, matrix[2] * x + matrix[5] * y + matrix[8] * z];
}

/** Turn further by angles in radians about the screen's upright and level axes. */
export function turned(matrix: Matrix3, right: number, down: number): Matrix3 {
  const [c, s, d, e] = [Math.cos(right), Math.sin(right), Math.cos(down), Math.sin(down)];
  return times([1, 0, 0, 0, d, e, 0, -e, d], times([c, 0, -s, 0, 1, 0, s, 0, c], matrix));
}

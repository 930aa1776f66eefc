/** Draws meshes and lines with WebGL2: one light beside who looks, no library. */

import type { Mesh } from "./surfaces.ts";

const VERTEX = `#version 300 es
layout(location = 0) in vec3 position; layout(location = 1) in vec3 normal;
uniform mat3 turn; uniform vec3 middle; uniform vec4 lens; out vec3 facing;
void main() { vec3 at = turn * (position - middle); facing = turn * normal; gl_Position = vec4(at.xy * lens.xy + lens.zw, -at.z * 0.0004, 1.0); }`;
const FRAGMENT = `#version 300 es
precision highp float; in vec3 facing; uniform vec4 color; uniform float lit; out vec4 result;
void main() {
  vec3 n = normalize(facing + vec3(0.0, 0.0, 1e-6)); float light = 0.28 + 0.72 * max(dot(n, normalize(vec3(-0.35, 0.45, 0.82))), 0.0);
  float shine = pow(max(dot(n, normalize(vec3(-0.2, 0.25, 0.95))), 0.0), 40.0) * 0.22;
  result = vec4(mix(color.rgb, color.rgb * light + shine, lit), color.a);
}`;

export interface Lens {
  /** mm to the screen's axes. */
  turn: readonly number[];
  /** What lies in the middle, in mm. */
  middle: readonly [number, number, number];
  /** Pixels of a mm, and by how many the middle is moved. */
  scale: number;
  pan: readonly [number, number];
}

export interface Line {
  /** Pairs of ends, x, y, z each. */
  points: Float32Array;
  color: [number, number, number, number];
}

interface Held {
  array: WebGLVertexArrayObject;
  buffers: WebGLBuffer[];
  count: number;
}

/** The drawing of one canvas; `null` from `start` where the browser has no WebGL2. */
export class SurfacePainter {
  private readonly gl: WebGL2RenderingContext;
  private readonly program: WebGLProgram;
  private held = new Map<number, Held>();
  private readonly lines: Held;

  private constructor(gl: WebGL2RenderingContext) {
    this.gl = gl;
    this.program = linked(gl);
    this.lines = this.hold([new Float32Array()], null);
    gl.enable(gl.DEPTH_TEST);
  }

  static start(canvas: HTMLCanvasElement): SurfacePainter | null {
    const gl = canvas.getContext("webgl2", { antialias: true, alpha: false });
    return gl ? new SurfacePainter(gl) : null;
  }

  show(meshes: readonly Mesh[]): void {
    for (const { array, buffers } of this.held.values()) {
      this.gl.deleteVertexArray(array);
      for (const buffer of buffers) this.gl.deleteBuffer(buffer);
    }
    this.held = new Map(meshes.map((mesh) => [mesh.label, this.hold([mesh.positions, mesh.normals], mesh.indices)]));
  }

  private hold(attributes: Float32Array[], indices: Uint32Array | null): Held {
    const { gl } = this;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const buffers = attributes.map((values, at) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 3, gl.FLOAT, false, 0, 0);
      return buffer;
    });
    if (indices) {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.STATIC_DRAW);
      buffers.push(buffer);
    }
    gl.bindVertexArray(null);
    return { array, buffers, count: indices?.length ?? 0 };
  }

  draw(width: number, height: number, lens: Lens, colors: ReadonlyMap<number, string>, lines: readonly Line[]): void {
    const { gl, program } = this;
    const place = (name: string): WebGLUniformLocation | null => gl.getUniformLocation(program, name);
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(program);
    gl.uniformMatrix3fv(place("turn"), false, lens.turn as number[]);
    gl.uniform3f(place("middle"), ...lens.middle);
    gl.uniform4f(place("lens"), (2 * lens.scale) / width, (2 * lens.scale) / height, (2 * lens.pan[0]) / width, (-2 * lens.pan[1]) / height);
    gl.uniform1f(place("lit"), 1);
    for (const [label, { array, count }] of this.held) {
      const color = colors.get(label);
      if (!color) continue; // hidden
      const value = Number.parseInt(color.slice(1), 16);
      gl.uniform4f(place("color"), (value >> 16) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255, 1);
      gl.bindVertexArray(array);
      gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
    }
    gl.uniform1f(place("lit"), 0);
    gl.bindVertexArray(this.lines.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lines.buffers[0] as WebGLBuffer);
    for (const line of lines) {
      gl.bufferData(gl.ARRAY_BUFFER, line.points, gl.STREAM_DRAW);
      gl.uniform4f(place("color"), ...line.color);
      gl.drawArrays(gl.LINES, 0, line.points.length / 3);
    }
    gl.bindVertexArray(null);
  }
}

function linked(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
    const shader = gl.createShader(kind) as WebGLShader;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`the graphics card refused a program: ${gl.getProgramInfoLog(program) ?? ""}`);
  return program;
}

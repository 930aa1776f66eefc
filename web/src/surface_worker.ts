/** Makes meshes beside the page, so that drawing goes on meanwhile. */

import { readSurfaces } from "./surfaces.ts";

self.addEventListener("message", (event: MessageEvent<ArrayBuffer>) => {
  const meshes = readSurfaces(event.data);
  const parts = meshes.flatMap((mesh) => [mesh.positions.buffer, mesh.normals.buffer, mesh.indices.buffer]);
  self.postMessage(meshes, { transfer: parts });
});

/** The formats that the page offers; the names are those of medsam.io. */

import type { ExportFormat } from "./case_api.ts";

const DICOM: ExportFormat[] = [
  { name: "DICOM SEG", format: "dicom-seg", use: "PACS and OHIF; for scans that are DICOM" },
  { name: "DICOM RTSTRUCT", format: "rtstruct", use: "radiotherapy planning; for scans that are DICOM" },
];

const VOLUMES: ExportFormat[] = [
  { name: "NIfTI", format: "nifti", use: "research tools, ITK-SNAP" },
  { name: "Segmentation NRRD", format: "seg.nrrd", use: "3D Slicer, with names and colours" },
  { name: "MetaImage", format: "metaimage", use: "ITK, elastix" },
  ...DICOM,
  { name: "STL", format: "stl", use: "surfaces, one file an object" },
];

const PICTURES: ExportFormat[] = [
  { name: "PNG", format: "png", use: "a picture of label numbers" },
  { name: "TIFF", format: "tiff", use: "ImageJ and others" },
  { name: "GeoJSON", format: "geojson", use: "outlines, QuPath" },
  { name: "COCO", format: "coco", use: "training of other models" },
  ...DICOM,
];

/** What a mask of so many slices can be written as. */
export function exportsOf(slices: number): ExportFormat[] {
  return slices > 1 ? VOLUMES : PICTURES;
}

/** What can be stored in an archive. */
export const STORED: ExportFormat[] = [
  { name: "Send to the PACS as SEG", format: "dicom-seg", use: "stored beside the series of the scan" },
  { name: "Send to the PACS as RTSTRUCT", format: "rtstruct", use: "as contours, for planning" },
];

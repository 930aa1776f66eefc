"""Outlines and surfaces: polygons, GeoJSON, STL."""

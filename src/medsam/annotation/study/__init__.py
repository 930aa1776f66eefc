"""Annotation studies."""

"""3D annotation from sparse long- and short-axis markers (paper: Human annotation study)."""

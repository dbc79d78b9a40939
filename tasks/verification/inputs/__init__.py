"""Input of a calculation: k-points, magnetic moments, molecules, resources."""

"""Random alloys, edited slabs and slabs from files."""

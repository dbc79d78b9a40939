"""Random alloys, edited slabs and slabs from files: what is not cut from an ordered crystal."""

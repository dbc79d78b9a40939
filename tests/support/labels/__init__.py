"""Small sources of labels, as people bring them."""

"""Configuration text: writing, reading, tokens and counted features."""

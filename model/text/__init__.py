"""Configuration text: formatting, parsing, tokens and counted features."""

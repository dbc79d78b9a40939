"""Commands: read what was typed, call one flow, print the result."""

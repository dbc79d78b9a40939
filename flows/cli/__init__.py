"""Commands: read arguments and options, call one flow, print the result."""

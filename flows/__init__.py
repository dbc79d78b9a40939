"""Prefect flows, command line, campaign file, settings and cluster: wires, decides nothing."""

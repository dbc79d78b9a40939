"""Prefect flows, the command line, the campaign file, settings and the cluster: wires, decides nothing."""

"""Runs that are killed: commands to kill, moments to kill them at, and what they leave."""

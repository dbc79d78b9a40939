"""Attempts at a calculation, their steps, and the policy on failures."""

"""Campaigns on a schedule: registration with Prefect, deployed flows, triggers and webhooks."""

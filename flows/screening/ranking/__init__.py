"""The ranking of a campaign: what it verifies next, again by another checkpoint, and relaxed."""

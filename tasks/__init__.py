"""What a flow does: enumerate, featurise, predict, rank, triage, verify, train, report."""

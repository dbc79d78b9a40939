"""The steps of a flow: enumerate, featurise, predict, rank, triage, verify, train, report."""

"""Writing a screening: campaigns, enumeration, predictions, ranking."""

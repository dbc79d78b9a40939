"""What verified labels teach: from the screening database to rows that a model learns from."""

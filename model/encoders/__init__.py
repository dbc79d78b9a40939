"""Graph encoders under one contract: graph in, invariant node features out."""

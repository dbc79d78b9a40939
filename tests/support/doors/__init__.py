"""What keeps others out: certificates, and a neighbour who tries to come in."""

"""Bad inputs of every kind, what they are given to, and the count of what came of them."""

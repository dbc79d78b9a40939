"""Generated adslabs: requests, checks and decoding into structures."""

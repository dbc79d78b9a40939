"""A relaxation that can be stopped, continued and traced step by step."""

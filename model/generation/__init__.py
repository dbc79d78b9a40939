"""Adslabs written by the language model, token by token."""

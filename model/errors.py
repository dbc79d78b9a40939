"""The one exception that the model raises for what a user can get wrong."""


class ModelError(Exception):
    """Input or files the model cannot use: the rule, the value and the way out in one line."""

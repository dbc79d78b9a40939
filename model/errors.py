"""The root of all exceptions of Sabatier, and that of the model.

The root stands here because a class needs a module that every package may import: this one imports
nothing, and the model is below the tasks and the flows. The screening database takes this module
alone from the model, which the contract of the packages says by name.
"""


class SabatierError(Exception):
    """An error that a user can mend: rule, value and way out in one line, exit status 2."""


class ModelError(SabatierError):
    """Input or files that the model cannot use."""


class FolderError(SabatierError):
    """A folder that is to be this user's alone, and is not."""


class MachineError(SabatierError):
    """What this machine lacks: memory, processes, or a folder that is free to write to."""


def shortened(text: str, length: int = 60) -> str:
    """Return a text that came from outside for a message, cut where it is long."""
    return text if len(text) <= length else f"{text[: length - 3]}..."

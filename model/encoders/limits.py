"""Limits on the settings of encoders, so that a wrong one is told before memory is taken for it."""

from model.errors import ModelError

_LARGEST_RADIUS_ANG = 20.0  # an atom of a metal has some 2,700 neighbours within


def require_between(config: object, lowest: float, highest: float, *names: str) -> None:
    """Check that settings lie within limits, both included.

    Raises:
        ModelError: one does not; it is named.
    """
    for name in names:
        value = getattr(config, name)
        if not lowest <= value <= highest:  # which not-a-number is not, either
            bound = f"at most {highest:,}" if value >= lowest else f"at least {lowest:,}"
            raise ModelError(f"{name} must be {bound}, got {value}")


def require_graph_limits(max_radius_ang: float, avg_degree: float) -> None:
    """Check the radius of the graphs that an encoder reads, and the neighbours it is scaled for.

    Raises:
        ModelError: one is not above 0, or too large.
    """
    if not 0 < max_radius_ang <= _LARGEST_RADIUS_ANG:
        raise ModelError(
            f"max_radius must be positive and at most {_LARGEST_RADIUS_ANG} Å, got {max_radius_ang}"
        )
    if not 0 < avg_degree < 1e6:
        raise ModelError(f"avg_degree must be positive and below 1,000,000, got {avg_degree}")

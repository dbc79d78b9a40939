"""The shape of a PaiNN.

Units   radii in Å.
Source  Schütt, Unke and Gastegger 2021, arXiv:2102.03150.
"""

from dataclasses import dataclass

from model.encoders.limits import require_between, require_graph_limits

ORDER = 3  # of the splines that filters are made of


@dataclass(frozen=True)
class PainnConfig:
    """Hyperparameters of one encoder.

    A filter of the distance is made of ``radial_functions`` splines between 0 and ``max_radius``.
    ``avg_degree`` is the number of neighbours that sums are scaled for. ``max_radius`` and
    ``max_neighbors`` describe the graphs the encoder expects; ``model.data.graph`` builds them.
    """

    channels: int = 64
    layers: int = 3
    radial_functions: int = 16
    max_radius: float = 6.0
    max_neighbors: int = 16
    max_num_elements: int = 95
    avg_degree: float = 14.0

    def __post_init__(self) -> None:
        require_between(self, 1, 100, "layers")
        require_between(self, 1, 10_000, "channels", "max_neighbors", "max_num_elements")
        require_between(self, ORDER + 1, 10_000, "radial_functions")
        require_graph_limits(self.max_radius, self.avg_degree)

"""The shape of an EquiformerV2, under the names of the published configuration files.

Units   radii in Å.
Source  Liao et al. 2023, arXiv:2306.12059, and its OC20 configuration with 31M parameters.
"""

from dataclasses import dataclass

from model.encoders.limits import require_between, require_graph_limits
from model.errors import ModelError

NORM_TYPES = ("layer_norm", "layer_norm_sh", "rms_norm_sh")
ACTIVATIONS = ("silu", "scaled_silu")
_WIDTHS = (
    *("sphere_channels", "attn_hidden_channels", "attn_alpha_channels", "attn_value_channels"),
    *("ffn_hidden_channels", "edge_channels"),
)


@dataclass(frozen=True)
class EquiformerV2Config:
    """Hyperparameters of one encoder; the defaults are the published 31M model.

    ``num_distance_basis`` counts the Gaussians between 0 and ``max_radius``. The published code
    always takes 600, whatever its files say (512 there). ``attn_activation`` and
    ``ffn_activation`` both mean plain SiLU, as they do there. ``max_radius`` and
    ``max_neighbors`` describe the graphs the encoder expects; ``model.data.graph`` builds them.
    """

    num_layers: int = 8
    sphere_channels: int = 128
    attn_hidden_channels: int = 64
    num_heads: int = 8
    attn_alpha_channels: int = 64
    attn_value_channels: int = 16
    ffn_hidden_channels: int = 128
    norm_type: str = "layer_norm_sh"
    lmax: int = 4
    mmax: int = 2
    grid_resolution: int | None = 18
    edge_channels: int = 128
    num_distance_basis: int = 600
    max_radius: float = 12.0
    max_neighbors: int = 20
    max_num_elements: int = 90
    use_atom_edge_embedding: bool = True
    share_atom_edge_embedding: bool = False
    distance_function: str = "gaussian"
    attn_activation: str = "silu"
    use_s2_act_attn: bool = False
    use_attn_renorm: bool = True
    ffn_activation: str = "silu"
    use_gate_act: bool = False
    use_grid_mlp: bool = True
    use_sep_s2_act: bool = True
    avg_degree: float = 23.395238876342773
    alpha_drop: float = 0.1
    drop_path_rate: float = 0.05
    proj_drop: float = 0.0

    @property
    def has_separate_scalars(self) -> bool:
        """Whether scalars after a layer need nothing of the higher degrees before it."""
        is_gated = self.use_gate_act and not self.use_grid_mlp
        return self.norm_type != "rms_norm_sh" and (is_gated or self.use_sep_s2_act)

    def __post_init__(self) -> None:
        self._check_names()
        self._check_sizes()

    def _check_names(self) -> None:
        if self.norm_type not in NORM_TYPES:
            raise ModelError(f"norm_type must be one of {NORM_TYPES}, got {self.norm_type!r}")
        for name in ("attn_activation", "ffn_activation"):
            if getattr(self, name) not in ACTIVATIONS:
                raise ModelError(f"{name} must be one of {ACTIVATIONS}")
        if self.distance_function != "gaussian":
            raise ModelError(f"distance_function must be gaussian, got {self.distance_function!r}")
        if self.use_s2_act_attn:
            raise ModelError("use_s2_act_attn must be false: no published model trains with it")
        if self.share_atom_edge_embedding and not self.use_atom_edge_embedding:
            raise ModelError("share_atom_edge_embedding needs use_atom_edge_embedding")

    def _check_sizes(self) -> None:
        if not 1 <= self.mmax <= self.lmax:
            raise ModelError(
                f"1 <= mmax <= lmax must hold, got mmax {self.mmax} and lmax {self.lmax}"
            )
        require_between(self, 1, 20, "lmax")
        if self.grid_resolution is not None:
            require_between(self, 2, 200, "grid_resolution")
        resolution = self.grid_resolution
        if resolution is not None and (resolution % 2 or resolution < 2 * (self.lmax + 1)):
            raise ModelError(
                f"grid_resolution must be even and at least {2 * (self.lmax + 1)} for lmax "
                f"{self.lmax}, got {resolution}"
            )
        require_between(self, 1, 100, "num_layers")
        require_between(self, 1, 10_000, *_WIDTHS, "num_heads", "max_neighbors", "max_num_elements")
        require_between(self, 2, 10_000, "num_distance_basis")
        require_between(self, 0, 1, "alpha_drop", "drop_path_rate", "proj_drop")
        require_graph_limits(self.max_radius, self.avg_degree)

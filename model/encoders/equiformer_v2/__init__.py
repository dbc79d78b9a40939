"""EquiformerV2 (arXiv:2306.12059) in plain torch, with the published parameter names."""

from model.encoders.equiformer_v2.config import EquiformerV2Config
from model.encoders.equiformer_v2.encoder import EquiformerV2

__all__ = ["EquiformerV2", "EquiformerV2Config"]

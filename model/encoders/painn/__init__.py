"""PaiNN (arXiv:2102.03150) in plain torch: the light encoder."""

from model.encoders.painn.config import PainnConfig
from model.encoders.painn.encoder import Painn

__all__ = ["Painn", "PainnConfig"]

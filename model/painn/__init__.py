"""PaiNN (arXiv:2102.03150) in plain torch: the light encoder."""

from model.painn.config import PainnConfig
from model.painn.encoder import Painn

__all__ = ["Painn", "PainnConfig"]

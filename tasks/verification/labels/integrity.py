"""Check that structures which were stored are still those that their ids stand for.

An id is the hash of a structure, so that it says at once whether what is about to be computed is
what was predicted.
"""

import numpy as np
from ase import Atoms

from tasks.errors import UserError
from tasks.structures import identity


def require_stored(
    adslab: Atoms, slab: Atoms, adsorbate: str, *, candidate_id: str, slab_id: str
) -> None:
    """Refuse a slab or an adslab that is not the one its id was made from."""
    _require("slab", slab_id, identity.slab_id(slab))
    is_adsorbate_N = adslab.get_tags() == 2
    scaled_A3 = adslab.positions[is_adsorbate_N] @ np.linalg.inv(adslab.cell.array)
    numbers_A = adslab.numbers[is_adsorbate_N]
    (found,) = identity.candidate_ids(slab_id, adsorbate, numbers_A, scaled_A3[None])
    _require("candidate", candidate_id, found)


def _require(what: str, stored: str, found: str) -> None:
    if found != stored:
        raise UserError(
            f"a stored structure has the id of its content: {what} {stored[:12]} reads as "
            f"{found[:12]}, so it was changed or damaged; screen it again in a new database"
        )

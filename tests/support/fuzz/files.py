"""Good files of each kind that edits start from, and structure files written another way."""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111
from ase.io import write
from hypothesis import strategies as st

from support.paths import REPOSITORY
from tasks.yaml_text import read_yaml

CAMPAIGN = """\
name: fuzz
level: emt
bulks: {elements: [Cu], alloys: [{formula: Cu3Pt, prototype: L1_2}], structures: [cu.cif]}
slabs: [{file: slab.poscar, miller: [1, 1, 1], side: top}]
surfaces: {max_miller: 1, min_thickness: 4.0, min_in_plane: 4.0, vacuum: 10.0, max_atoms: 60}
adsorbates: [H, {file: co.xyz, binding: [0], name: CO}]
placements: {kinds: [atop], rotations: 1, random: 0}
target: {H: {window: [-0.5, 0.5]}, CO: {optimum: 0.1, width: 0.2}}
triage: {budget: 3, promising: 0.5, policy: {name: batch, diversity: 0.5}, costs: {budget: 10}}
verification: {level: emt}
learning: {method: auto, replay: 0.5, patience: 2}
cluster: {workers: 1, cuda: false, chunk_placements: 100}
database: fuzz.db
seed: 1
"""
LEVEL = """\
name: mine
based_on: gpaw-rpbe
calculation:
  relaxation: {optimiser: BFGS, fmax_ev_ang: 0.05, max_steps: 100}
  basis: {cutoff_ev: 400, grid_ang: 0.18}
  kpoints: {length_ang: 12, gamma: always}
  spin: {policy: magnetic-elements, moments: {Fe: 3.0, Ni: 1.0}}
  potentials: {family: paw, checksums: {Cu: 0123456789abcdef}}
  keywords: {random: true}
reference: {kind: reactions, molecules: [CO, H2O, H2]}
source: "a table"
"""
PRICES = "values: {Cu: 6.0, Pt: 31500, H: 1}\nscale: log\nunit: USD/kg\nsource: made up\n"
PROFILE = """\
jobs: 4
account: chemistry
options: {exclusive: true, mail-type: END}
setup: ["module load gpaw"]
limits: {engines: {gpaw: {base_gb: 0.5}}}
"""
DEPLOYMENTS = """\
pool: {name: fuzz, type: process, runs: 2}
timezone: Europe/Berlin
webhook: https://example.org/hook
notify: [finished, failed]
campaigns:
  - file: campaign.yaml
    screen: {cron: "0 2 * * *"}
    verify: {every_s: 3600, limit: 3, on: local}
    loop: {rounds: 2, budget: 4}
    fine_tune_after: 20
"""
CIF = """\
data_rutile
_cell_length_a 4.594(2)
_cell_length_b 4.594
_cell_length_c 2.959
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 42/m n m'
_chemical_formula_sum 'Ti2 O4'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Ti1 Ti4+ 0 0 0 1
O1 O2- 0.3053 0.3053 0 1
"""
TEXTS = (
    "H</s>Cu (1 1 1)</s>[H Cu Cu Cu hollow [Cu Cu Cu H] [Cu Cu Cu H] [Cu Cu H]]",
    "CO</s>Cu3Pt (1 1 1)</s>[C Cu Pt bridge [Cu Cu Pt C] [Pt Cu Cu C]]",
    "COCH2OH</s>S8Mo6 (1 1 0)</s>[C Mo Mo bridge [Mo Mo S S S C] [Mo S S S C]]",
    "N</s>Sc8Se12 (1 1 -1)</s>[]",
)
MILLERS = ("1 1 1", "(1, 0, -1)", "[1 0 -1 0]", "{2 1 1}", "0 0 1", "20 -20 1", "2 2 2")
QUERIES = (
    "select * from slab limit 5",
    "with t as (select 1 as a union all select 2) select sum(a) from t",
    "select campaign, count(*) from funnel group by campaign order by 2 desc",
    "values (1, 'two', x'33')",
    "explain query plan select * from candidate where id = 3",
    "select json_extract('{\"a\": [1]}', '$.a[0]')",
)
CONDITIONS = ("state = 'failed'", "priority > 1 and level like 'emt%'", "attempts in (1, 2)", "1")
URLS = (
    "fuzz.db",
    "sqlite:///fuzz.db",
    "sqlite:////tmp/none/fuzz.db?mode=ro&uri=true",
    "postgresql://user:secret@127.0.0.1:1/none",
    "postgresql+psycopg://user:se%40cret@127.0.0.1:1/none?password=other&connect_timeout=2",
    "sqlite://",
)


def recipes() -> list[str]:
    """Return the recipes that ship."""
    return [file.read_text() for file in sorted((REPOSITORY / "model" / "presets").glob("*.yaml"))]


def values_of(text: str) -> object:
    """Return what a YAML text states."""
    return read_yaml(text)[1]


def adslab() -> Atoms:
    """Return oxygen on copper, the adsorbate tagged."""
    slab: Atoms = fcc111("Cu", (2, 2, 3), vacuum=7.0, periodic=True)
    add_adsorbate(slab, "O", 1.2, "fcc")
    slab.set_tags([0] * 8 + [1] * 4 + [2])
    slab.info.clear()  # where the builder keeps its sites
    return slab


def written(atoms: Atoms, kind: str) -> str:
    """Return a structure as the text of a file."""
    if kind == "cif":
        packed = io.BytesIO()
        write(packed, atoms, format="cif")
        return packed.getvalue().decode()
    text = io.StringIO()
    write(text, atoms, format=kind)
    return text.getvalue()


def crystals() -> list[Atoms]:
    """Return the structures that files are made of."""
    return [
        bulk("Cu", cubic=True),
        bulk("NaCl", "rocksalt", a=5.64, cubic=True),
        bulk("Ti", "hcp", a=2.95, c=4.68),
        adslab(),
    ]


def structure_texts(kind: str) -> list[str]:
    """Return good files of a kind, ``cif``, ``vasp`` or ``extxyz``."""
    own = [CIF] if kind == "cif" else []
    return own + [written(atoms, kind) for atoms in crystals()]


@dataclass(frozen=True)
class Rewritten:
    """A structure file, and the same structure written another way."""

    kind: str
    text: str
    other: str


def _lines(text: str, change: Callable[[str], str]) -> str:
    return "\n".join(change(line) for line in text.split("\n"))


def _shuffled_atoms(kind: str, text: str, seed: int) -> str:
    """Return the text with the rows of its atoms in another order."""
    lines = text.rstrip("\n").split("\n")
    if kind == "cif":
        head = max(i for i, line in enumerate(lines) if line.strip().startswith("_atom_site")) + 1
    elif kind == "extxyz":
        head = 2
    else:
        return text  # a POSCAR counts atoms by their order
    rows = lines[head:]
    random.Random(seed).shuffle(rows)
    return "\n".join([*lines[:head], *rows, ""])


def _rewritten(kind: str, text: str, ways: frozenset[str], seed: int) -> Rewritten:
    other = text
    if "atoms" in ways:
        other = _shuffled_atoms(kind, other, seed)
    if "spaces" in ways:
        other = _lines(other, lambda line: line + "  " if line.strip() else line)
    if "tabs" in ways and kind != "extxyz":
        other = _lines(other, lambda line: line.replace("  ", "\t ") if "'" not in line else line)
    if "comments" in ways and kind == "cif":
        other = "# a comment\n" + other + "# another\n"
    if "blank lines" in ways:
        other += "\n\n"
    if "line ends" in ways:
        other = other.replace("\n", "\r\n")
    if "mark" in ways:
        other = "\ufeff" + other
    return Rewritten(kind, text, other)


WAYS = ("atoms", "spaces", "tabs", "comments", "blank lines", "line ends", "mark")


def rewritten_files() -> st.SearchStrategy[Rewritten]:
    """Return a strategy of structure files that are the same structure written another way."""
    bases = [(kind, text) for kind in ("cif", "vasp", "extxyz") for text in structure_texts(kind)]
    ways = st.frozensets(st.sampled_from(WAYS), min_size=1)
    return st.builds(
        lambda base, ways, seed: _rewritten(base[0], base[1], ways, seed),
        st.sampled_from(bases),
        ways,
        st.integers(0, 1000),
    )


def same_atoms(one: Atoms, other: Atoms) -> bool:
    """Tell whether two structures are one but for the order of their atoms."""
    if len(one) != len(other) or not np.allclose(one.cell.array, other.cell.array, atol=1e-6):
        return False
    keys = []
    for atoms in (one, other):
        scaled = (
            np.round(atoms.get_scaled_positions() % 1.0, 5) % 1.0
            if atoms.cell.rank == 3
            else (np.round(atoms.positions, 5))
        )
        keys.append(sorted(zip(atoms.numbers.tolist(), map(tuple, scaled.tolist()), strict=True)))
    return keys[0] == keys[1]

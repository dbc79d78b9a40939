"""Gas references, from which adsorption energies are counted.

Two kinds. *Reactions*: each element has a chemical potential, solved exactly from as many gas
molecules as there are elements, so the reference of CHO is mu_C + mu_H + mu_O. *Molecule*: the
reference is the energy of the adsorbate's own molecule in the gas. Energies of two schemes, or of
two levels of theory, differ by eV and never meet.

Sulphur is counted from H2S - H2, fluorine from HF - 1/2 H2 and chlorine from HCl - 1/2 H2: all are
closed shells, where GGA functionals are far off for F2 and S8 is large.

Source  Chanussot et al. 2021 (OC20), arXiv:2010.09990, for CO, H2O, H2 and N2; Mamun et al. 2019,
        Sci. Data 6, 76 (Catalysis-Hub), for H2S.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

from tasks.errors import UserError
from tasks.structures.formulas import formula_counts

ADDED_MOLECULES = ("H2S", "HF", "HCl")  # of the shipped levels, for S, F and Cl


@dataclass(frozen=True)
class ReferenceScheme:
    """Gas molecules that fix the zero of an adsorption energy, by formula.

    ``added`` molecules bring elements that ``molecules`` do not hold, and change none of theirs.
    """

    kind: Literal["reactions", "molecule"]
    molecules: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "molecule" and self.gases:
            raise UserError("a molecule reference names no molecules: it is the adsorbate's own")
        if self.kind == "reactions":
            # molecules that do not fix each element are refused here
            _ = ReferenceScheme("reactions", self.molecules).potentials if self.added else ()
            _ = self.potentials

    @property
    def label(self) -> str:
        """Return the scheme as people write it."""
        return ", ".join(self.gases) if self.gases else "the gas molecule itself"

    @property
    def gases(self) -> tuple[str, ...]:
        """Return all molecules, the added ones last."""
        return (*self.molecules, *self.added)

    @property
    def record(self) -> dict[str, str | list[str]]:
        """Return what is stored and hashed, as levels were before molecules could be added."""
        added = {"added": list(self.added)} if self.added else {}
        return {"kind": self.kind, "molecules": list(self.molecules), **added}

    @cached_property
    def potentials(self) -> dict[str, dict[str, Fraction]]:
        """Return, for each element, the molecule energies that add up to its potential."""
        counts = [formula_counts(molecule) for molecule in self.gases]
        elements = sorted({symbol for count in counts for symbol in count})
        if len(elements) != len(counts):
            raise UserError(
                f"{len(counts)} molecules ({self.label}) cannot fix the potentials of "
                f"{len(elements)} elements ({', '.join(elements)}); give one molecule an element"
            )
        rows = [[Fraction(count.get(symbol, 0)) for symbol in elements] for count in counts]
        inverse = _inverse(rows, self.label)
        return {
            symbol: {
                molecule: weight
                for molecule, weight in zip(self.gases, inverse[index], strict=True)
                if weight
            }
            for index, symbol in enumerate(elements)
        }

    def weights(self, adsorbate: str, formula: str) -> dict[str, Fraction]:
        """Return gas molecules and their weights in the reference of one adsorbate.

        Under a molecule scheme the only molecule is ``adsorbate`` itself, by its name.
        """
        if self.kind == "molecule":
            return {adsorbate: Fraction(1)}
        weights: dict[str, Fraction] = {}
        for symbol, count in formula_counts(formula).items():
            for molecule, weight in self._potential(symbol, adsorbate).items():
                weights[molecule] = weights.get(molecule, Fraction(0)) + count * weight
        return {molecule: weight for molecule, weight in weights.items() if weight}

    def reference_ev(
        self, adsorbate: str, formula: str, gas_energies_ev: Mapping[str, float]
    ) -> float:
        """Return the energy (eV) that is subtracted for one adsorbate.

        Example:
            >>> scheme = ReferenceScheme("reactions", ("CO", "H2O", "H2"))
            >>> scheme.label
            'CO, H2O, H2'
            >>> round(scheme.reference_ev("OH", "OH", {"H2O": -14.22, "H2": -6.77}), 3)
            -10.835
        """
        weights = self.weights(adsorbate, formula)
        missing = sorted(set(weights) - set(gas_energies_ev))
        if missing:
            raise UserError(f"no gas energy for {', '.join(missing)}, needed for {adsorbate}")
        return sum(float(weights[name]) * gas_energies_ev[name] for name in sorted(weights))

    def _potential(self, symbol: str, adsorbate: str) -> dict[str, Fraction]:
        try:
            return self.potentials[symbol]
        except KeyError:
            raise UserError(
                f"{adsorbate} holds {symbol}, which has no gas reference among {self.label}; "
                f"choose a level of theory whose references hold {symbol}"
            ) from None


def _inverse(rows: list[list[Fraction]], label: str) -> list[list[Fraction]]:
    """Return the exact inverse of a square matrix (Gauss-Jordan on fractions)."""
    size = len(rows)
    work = [row + [Fraction(int(i == j)) for j in range(size)] for i, row in enumerate(rows)]
    for column in range(size):
        pivot = next((r for r in range(column, size) if work[r][column]), None)
        if pivot is None:
            raise UserError(f"the molecules {label} do not fix one potential for each element")
        work[column], work[pivot] = work[pivot], work[column]
        work[column] = [value / work[column][column] for value in work[column]]
        for row in range(size):
            if row != column and work[row][column]:
                factor = work[row][column]
                work[row] = [a - factor * b for a, b in zip(work[row], work[column], strict=True)]
    return [row[size:] for row in work]

"""Print what exists by name: adsorbates, and levels of theory with what models know at them."""

from collections.abc import Mapping, Sequence

from flows.display.tables import new_table, print_table
from model.contract import Domain, LevelDomain
from tasks.reports.catalogue import AdsorbateEntry, LevelEntry

_FULL_LIST = 3  # levels; of more, the adsorbates are counted


def show_adsorbates(entries: Sequence[AdsorbateEntry], model: str, level: str) -> None:
    """Print adsorbates with their elements and binding atoms, and where a model knows them.

    Args:
        entries: The adsorbates.
        model: The model's name.
        level: The level that the list was asked for; empty for any.
    """
    where = f" that {model} knows at {level}" if level else ""
    table = new_table(
        f"adsorbates{where}: {len(entries)}",
        ("adsorbate", "also", "formula", "elements", "binds by", f"{model} knows it at"),
    )
    for entry in entries:
        table.add_row(
            entry.name,
            ", ".join(entry.aliases),
            entry.formula,
            " ".join(entry.elements),
            " ".join(entry.binding) or "give it by file or SMILES",
            ", ".join(entry.known_at),
        )
    print_table(table)
    if not level:
        print("what a model knows at one level, stored here or not: --level LEVEL")


def show_levels(entries: Sequence[LevelEntry], domains: Mapping[str, Domain]) -> None:
    """Print levels of theory, and of a few of them what each model has seen there.

    Args:
        entries: The levels.
        domains: What each model has seen, by the model's name.
    """
    table = new_table(
        f"levels of theory: {len(entries)}",
        ("level", "engine", "functional", "references", "computed here", "known by (adsorbates)"),
    )
    for entry in entries:
        known = ", ".join(f"{model} ({count})" for model, count in entry.known_by.items())
        table.add_row(
            entry.name,
            entry.engine,
            entry.functional,
            entry.references,
            f"no: {entry.not_here}" if entry.not_here else "yes",
            known,
        )
    print_table(table)
    if len(entries) > _FULL_LIST:
        print("what models know at one of them: sabatier levels LEVEL")
        return
    for entry in entries:
        for model in entry.known_by:
            _show_known(f"{model} at {entry.name}", domains[model].levels[entry.name])


def _show_known(title: str, known: LevelDomain) -> None:
    facets = [f"({' '.join(map(str, facet))})" for facet in sorted(known.facets)]
    parts = [
        ("adsorbates", sorted(known.adsorbates)),
        ("elements of slabs", sorted(known.slab_elements)),
        ("kinds of material", sorted(known.kinds)),
        ("facets", facets or ["not recorded"]),
    ]
    print(f"{title}:")
    for name, values in parts:
        print(f"  {name:<19}{', '.join(values)}")

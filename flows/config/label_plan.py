"""A label plan: families of surfaces, how often each is drawn, and what is put on them."""

from pathlib import Path

from pydantic import Field

from flows.config.campaign import AnyAdsorbate, Placements
from flows.config.resolve import stated_adsorbate
from flows.config.surfaces import Bulks, Surfaces
from flows.config.yaml_model import YamlFileKind, YamlModel, load_yaml_model
from flows.errors import CampaignError
from tasks.enumeration import adsorbate_names, resolve_bulks
from tasks.training_data.label_set import LabelFamily, LabelPlan


class Family(YamlModel):
    """Surfaces of one kind; without ``adsorbates`` all that ship are put on them."""

    share: float = Field(gt=0)
    bulks: Bulks
    surfaces: Surfaces = Surfaces()
    adsorbates: list[AnyAdsorbate] = Field(default=[])


class LabelPlanFile(YamlModel):
    """The content of a label plan."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)
    families: dict[str, Family] = Field(min_length=1)
    placements: Placements = Placements()
    per_slab: int = Field(default=8, ge=1, le=1000)
    seed: int = Field(default=0, ge=0)


LABEL_PLAN_FILE = YamlFileKind(LabelPlanFile, "label plan", "benchmarks/labels/diep-r2scan.yaml")


def load_label_plan(path: Path) -> LabelPlan:
    """Return the plan that a file states, its crystals found.

    Raises:
        CampaignError: the file breaks a rule, or a crystal cannot be made.
    """
    stated = load_yaml_model(path, LABEL_PLAN_FILE)
    families = tuple(_family(name, family, path.parent) for name, family in stated.families.items())
    return LabelPlan(families, stated.placements.spec(stated.seed), stated.per_slab, stated.seed)


def _family(name: str, stated: Family, folder: Path) -> LabelFamily:
    bulks, refused = resolve_bulks(
        stated.bulks.specs(folder), symmetry_tolerance_ang=stated.bulks.symmetry_tolerance
    )
    if refused:
        raise CampaignError(
            f"every crystal of a label plan can be made, {refused[0].item} of family {name} "
            f"cannot: {refused[0].reason}; leave it out"
        )
    species = stated.adsorbates or list(adsorbate_names())
    return LabelFamily(
        name,
        stated.share,
        tuple(sorted(bulks, key=lambda bulk: bulk.bulk_id)),
        stated.surfaces.spec(),
        stated.surfaces.edits(),
        tuple(stated_adsorbate(each, folder) for each in species),
    )

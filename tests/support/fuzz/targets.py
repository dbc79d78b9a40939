"""The kinds of input, and the function of the product that each is given to.

A function refuses its input with an error of one line, or answers; an answer is looked at where it
can be told whether it is right.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from flows.config.batch_profile import load_batch_profile
from flows.config.campaign import load_campaign
from flows.config.deployments import load_deployments
from flows.config.resolve import resolve_campaign
from flows.config.settings import read_settings
from flows.records.locations import chosen_database
from model.contract import Configuration, Predictor
from model.text.configuration_text import parse_text
from screening_db.database import Database, open_database
from screening_db.database.read_only_sql import run_select
from screening_db.queue.view import queue_items_where
from support.fuzz import files
from support.fuzz.checkpoints import (
    DAMAGES,
    Damage,
    damaged_copy,
    write_small_checkpoints,
)
from support.fuzz.inputs import changed_files, damaged, damaged_files
from tasks.acquisition import price_table
from tasks.enumeration import miller_from_text
from tasks.levels import level
from tasks.prediction.adslab_file import adslab_from_file, slab_miller
from tasks.prediction.checkpoint_domain import checkpoint_domain
from tasks.prediction.text_checks import require_consistent_text
from tasks.structures.files.structure_files import read_structure, read_structures


@dataclass(frozen=True)
class FuzzKind:
    """Inputs of one kind, how many of ten thousand, and what is done with one."""

    inputs: st.SearchStrategy[Any]
    share: int
    act: Callable[[Any], object]


class FuzzTargets:
    """The kinds by name, over a folder that is this run's alone and the current one."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name, atoms, kind in (
            ("cu.cif", files.crystals()[0], "cif"),
            ("slab.poscar", files.adslab()[:-1], "vasp"),
            ("co.xyz", files.adslab()[[0, 12]], "extxyz"),
        ):
            (folder / name).write_text(files.written(atoms, kind))
        (folder / "co.xyz").write_text("2\n\nC 0 0 0\nO 0 0 1.15\n")

    @cached_property
    def kinds(self) -> Mapping[str, FuzzKind]:
        """Return the kinds of input by name."""
        return {
            "campaign": FuzzKind(_yaml([files.CAMPAIGN]), 2200, self._campaign),
            "level": FuzzKind(_yaml([files.LEVEL]), 900, self._level),
            "profile": FuzzKind(_yaml([files.PROFILE]), 300, self._profile),
            "deployments": FuzzKind(_yaml([files.DEPLOYMENTS]), 400, self._deployments),
            "prices": FuzzKind(_yaml([files.PRICES]), 300, self._prices),
            "recipe": FuzzKind(_yaml(files.recipes()), 500, self._recipe),
            "cif": FuzzKind(damaged_files(files.structure_texts("cif")), 1000, self._file("x.cif")),
            "poscar": FuzzKind(
                damaged_files(files.structure_texts("vasp")), 700, self._file("x.poscar")
            ),
            "extxyz": FuzzKind(
                damaged_files(files.structure_texts("extxyz")), 700, self._file("x.xyz")
            ),
            "rewritten": FuzzKind(files.rewritten_files(), 500, self._rewritten),
            "text": FuzzKind(damaged(files.TEXTS), 700, self._text),
            "miller": FuzzKind(damaged(files.MILLERS), 400, miller_from_text),
            "checkpoint": FuzzKind(DAMAGES, 500, self._checkpoint),
            "url": FuzzKind(damaged(files.URLS), 300, self._url),
            "sql": FuzzKind(damaged(files.QUERIES), 400, self._sql),
            "where": FuzzKind(damaged(files.CONDITIONS), 200, self._where),
        }

    def _put(self, name: str, content: bytes) -> Path:
        file = self.folder / name
        file.write_bytes(content)
        return file

    def _campaign(self, content: bytes) -> object:
        campaign = load_campaign(self._put("campaign.yaml", content))
        return resolve_campaign(campaign, self.folder, None).config_sha256

    def _level(self, content: bytes) -> object:
        self._put("level.yaml", content)
        return level("level.yaml", self.folder).level_hash

    def _profile(self, content: bytes) -> object:
        return load_batch_profile(self._put("profile.yaml", content))

    def _deployments(self, content: bytes) -> object:
        return load_deployments(self._put("deployments.yaml", content))

    def _prices(self, content: bytes) -> object:
        self._put("prices.yaml", content)
        return price_table("prices.yaml", self.folder).level("CuPt")

    def _recipe(self, content: bytes) -> object:
        # Here, because torch takes seconds, and most kinds do not need it.
        from flows.learning.training import read_recipe, training_plan

        file = self._put("recipe.yaml", content)
        return training_plan(read_recipe(file), file, self.folder / "none.parquet", self.folder)

    def _file(self, name: str) -> Callable[[bytes], object]:
        def act(content: bytes) -> object:
            file = self._put(name, content)
            read_structures(file)
            return slab_miller(adslab_from_file(file, "O"), None)

        return act

    def _rewritten(self, both: files.Rewritten) -> None:
        name = {"cif": "w.cif", "vasp": "w.poscar", "extxyz": "w.xyz"}[both.kind]
        one = read_structure(self._put(name, both.text.encode()))
        other = read_structure(self._put(name, both.other.encode()))
        if not files.same_atoms(one, other):
            raise AssertionError(f"{both.kind} written another way is another structure")

    @cached_property
    def _baseline(self) -> Predictor:
        from model.prediction.predictor import load_predictor

        return load_predictor("baseline")

    def _text(self, text: str) -> object:
        require_consistent_text(text)
        parse_text(text)
        return _answered(self._baseline, text, "emt")

    @cached_property
    def _whole(self) -> dict[str, Path]:
        return write_small_checkpoints(self.folder / "whole")

    def _checkpoint(self, damage: Damage) -> object:
        from model.prediction.predictor import load_predictor

        folder = damaged_copy(damage, self._whole, self.folder)
        checkpoint_domain(folder)
        return _answered(load_predictor(folder), files.TEXTS[0], "beef-vdw-ch4")

    def _url(self, address: str) -> object:
        found = chosen_database(read_settings(), address)
        found.close()
        return found

    @cached_property
    def _database(self) -> Database:
        return open_database(str(self.folder / "fuzz.db"))

    def _sql(self, query: str) -> object:
        return run_select(self._database, query, 100, timeout_s=5)

    def _where(self, condition: str) -> object:
        return queue_items_where(self._database, condition)


def _yaml(bases: list[str]) -> st.SearchStrategy[bytes]:
    return st.one_of(damaged_files(bases), changed_files([files.values_of(base) for base in bases]))


def _answered(predictor: Predictor, text: str, at: str) -> object:
    configuration = Configuration.from_text(text, candidate_id="fuzz", level=at)
    (said,) = predictor.predict([configuration])
    if not (math.isfinite(said.energy_ev) and said.sigma_ev >= 0):
        raise AssertionError(f"an answer is a number with an error bar, got {said}")
    return said

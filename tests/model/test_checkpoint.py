"""A checkpoint is what its hashes say, or it is refused."""

from pathlib import Path
from typing import Any

import pytest

from model.checkpoint import EMBEDDED_FOLDER, embedded_names, open_checkpoint, reading, seal
from model.errors import ModelError
from model.prediction.predictor import load_predictor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(b"1234")
    seal(tmp_path, "test")
    return tmp_path


def test_a_sealed_folder_opens_under_one_name(folder: Path) -> None:
    first, second = open_checkpoint(folder), open_checkpoint(str(folder))
    assert first == second
    assert len(first.sha256) == 64


def test_a_changed_file_is_refused(folder: Path) -> None:
    (folder / "weights").write_bytes(b"1235")
    with pytest.raises(ModelError, match=r"weights must have SHA-256 .* got .* restore the folder"):
        open_checkpoint(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "weights").unlink()
    with pytest.raises(ModelError, match="got missing"):
        open_checkpoint(folder)


def test_a_broken_manifest_is_refused(folder: Path) -> None:
    (folder / "manifest.json").write_text("[")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "manifest",
    [
        "{}",
        '{"kind": 1, "files": {}}',
        '{"kind": "test", "files": ["weights"]}',
        '{"kind": "test", "files": {"../weights": "%s"}}' % ("0" * 64),
        '{"kind": "test", "files": {"..": "%s"}}' % ("0" * 64),
        '{"kind": "test", "files": {"weights": "0"}}',
    ],
)
def test_a_manifest_names_files_beside_it_with_their_hashes(folder: Path, manifest: str) -> None:
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(ModelError, match="is not a checkpoint manifest"):
        open_checkpoint(folder)


def test_a_file_that_is_not_listed_is_refused(folder: Path) -> None:
    (folder / "more.pkl").write_bytes(b"")
    (folder / "other").mkdir()
    with pytest.raises(ModelError, match=r"holds 'more\.pkl' and 1 more; move that elsewhere"):
        open_checkpoint(folder)


def test_hidden_files_that_systems_leave_are_no_part_of_it(folder: Path) -> None:
    sealed = seal(folder, "test")
    (folder / ".DS_Store").touch()
    assert open_checkpoint(folder) == sealed
    assert seal(folder, "test") == sealed


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (MemoryError(), "does not fit into the memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})(), "does not fit into the memory"),
        (KeyError("modes"), "is damaged"),
    ],
)
def test_a_fault_of_reading_names_its_cause(folder: Path, fault: Exception, message: str) -> None:
    with pytest.raises(ModelError, match=message), reading(seal(folder, "test")):
        raise fault


def test_a_library_that_is_missing_is_no_damage(folder: Path) -> None:
    with pytest.raises(ModuleNotFoundError), reading(seal(folder, "test")):
        raise ModuleNotFoundError("lightgbm")


def test_a_device_that_is_not_there_is_no_fault_of_the_checkpoint() -> None:
    with pytest.raises(ModelError, match=r"device cuda:99 is not here; take the device cpu"):
        load_predictor("mini", "cuda:99")


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "weights"
    (folder / "weights").rename(elsewhere)
    (folder / "weights").symlink_to(elsewhere)
    with pytest.raises(ModelError, match="weights is a link to elsewhere; put the file in its"):
        open_checkpoint(folder)


def test_a_folder_without_a_manifest_is_none(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(ModelError, match=r"no checkpoint .* a folder that holds manifest\.json"):
        open_checkpoint(folder)


def test_a_name_too_long_for_a_folder_is_none() -> None:
    with pytest.raises(ModelError, match="no checkpoint 'xxx"):
        open_checkpoint("x" * 5000)


def test_an_unknown_name_offers_the_embedded_ones() -> None:
    with pytest.raises(ModelError, match="name one of baseline, mini"):
        open_checkpoint("maxi")


def test_what_ships_is_whole_and_small() -> None:
    for name in embedded_names():
        open_checkpoint(name)
    total = sum(file.stat().st_size for file in EMBEDDED_FOLDER.rglob("*") if file.is_file())
    assert total <= 25e6

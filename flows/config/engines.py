"""Where the engines are on this machine, from environment variables.

Apart from ``flows.config.settings``, because the engines take a second to import.
"""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from flows.errors import CampaignError
from tasks.verification.engines import EngineLocation, EngineLocations, engine_names
from tasks.verification.engines.launch import shell_words


class EngineSettings(BaseSettings):
    """Commands and potentials of engines, also under the variables of ASE and the programs."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    work: str = Field(
        default="", validation_alias="SABATIER_ENGINE_WORK"
    )  # where calculations keep their steps; without it beside the database
    gpaw_setups: str = Field(default="", validation_alias="SABATIER_GPAW_SETUPS")
    qe_command: str = Field(default="", validation_alias="SABATIER_QE_COMMAND")
    qe_potentials: str = Field(
        default="", validation_alias=AliasChoices("SABATIER_QE_POTENTIALS", "ESPRESSO_PSEUDO")
    )
    cp2k_command: str = Field(
        default="", validation_alias=AliasChoices("SABATIER_CP2K_COMMAND", "ASE_CP2K_COMMAND")
    )
    cp2k_data: str = Field(
        default="", validation_alias=AliasChoices("SABATIER_CP2K_DATA", "CP2K_DATA_DIR")
    )
    vasp_command: str = Field(
        default="",
        validation_alias=AliasChoices("SABATIER_VASP_COMMAND", "ASE_VASP_COMMAND", "VASP_COMMAND"),
    )
    vasp_potentials: str = Field(
        default="", validation_alias=AliasChoices("SABATIER_VASP_POTENTIALS", "VASP_PP_PATH")
    )
    fairchem_checkpoint: str = Field(default="", validation_alias="SABATIER_FAIRCHEM_CHECKPOINT")
    mace_checkpoint: str = Field(default="", validation_alias="SABATIER_MACE_CHECKPOINT")
    sevenn_checkpoint: str = Field(default="", validation_alias="SABATIER_SEVENN_CHECKPOINT")
    chgnet_checkpoint: str = Field(default="", validation_alias="SABATIER_CHGNET_CHECKPOINT")
    diep_model: str = Field(default="", validation_alias="SABATIER_DIEP_MODEL")
    replay_table: str = Field(default="", validation_alias="SABATIER_REPLAY_TABLE")


def read_engine_locations(work: Path | None = None) -> EngineLocations:
    """Return the location of each engine; without a variable it is the program's own default.

    Args:
        work: Folder in which calculations keep their steps, unless the environment names another.

    Returns:
        Commands, potentials and folders, by name of the engine.

    Raises:
        CampaignError: a command has a quotation that does not end.
    """
    stated = EngineSettings()
    for name in ("qe_command", "cp2k_command", "vasp_command"):
        alias = EngineSettings.model_fields[name].validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [alias]
        try:
            shell_words(getattr(stated, name), " or ".join(map(str, names)))
        except ValueError as fault:
            raise CampaignError(str(fault)) from None
    folder = stated.work or (str(work.absolute()) if work else "")
    locations = {name: EngineLocation(work=folder) for name in engine_names()}
    return locations | {
        "gpaw": EngineLocation(potentials=stated.gpaw_setups, work=folder),
        "quantum-espresso": EngineLocation(stated.qe_command, stated.qe_potentials, folder),
        "cp2k": EngineLocation(stated.cp2k_command, stated.cp2k_data, folder),
        "vasp": EngineLocation(stated.vasp_command, stated.vasp_potentials, folder),
        "fairchem": EngineLocation(potentials=stated.fairchem_checkpoint, work=folder),
        "mace": EngineLocation(potentials=stated.mace_checkpoint, work=folder),
        "sevenn": EngineLocation(potentials=stated.sevenn_checkpoint, work=folder),
        "chgnet": EngineLocation(potentials=stated.chgnet_checkpoint, work=folder),
        "diep": EngineLocation(potentials=stated.diep_model, work=folder),
        "replay": EngineLocation(potentials=stated.replay_table, work=folder),
    }

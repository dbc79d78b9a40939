"""A deployments file: the deployments that it becomes, and how a bad one is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.cli.deploy._config import _load_deploy_configs_and_actions
from prefect.flows import load_flow_from_entrypoint
from rich.console import Console
from support.paths import REPOSITORY

from flows.config.batch_profile import load_batch_profile
from flows.config.deployments import Deployments, Pool, load_deployments
from flows.config.settings import Settings
from flows.deployment.plan import (
    DeploymentContext,
    PlannedDeployment,
    job_variables,
    plan_deployments,
)
from flows.deployment.register import SHIPPED
from flows.errors import CampaignError

FOLDER = REPOSITORY / "deployments"
FILES = ["docker", "kubernetes", "local", "login-node"]
CAMPAIGN = "campaigns: [{file: laptop-emt.yaml, screen: {}}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(REPOSITORY / "examples" / "laptop-emt.yaml", tmp_path)
    return tmp_path


def stated(folder: Path, text: str) -> Deployments:
    file = folder / "deployments.yaml"
    file.write_text(text)
    return load_deployments(file)


def planned(folder: Path, text: str, **settings: Any) -> list[PlannedDeployment]:
    site = DeploymentContext(folder, "deployments.yaml", folder, Settings(**settings))
    return plan_deployments(stated(folder, text), site)


def test_every_file_that_ships_is_read_by_a_test() -> None:
    found = {file.stem for file in FOLDER.glob("*.yaml")}
    assert found == {*FILES, "prefect", "slurm"}
    assert load_batch_profile(FOLDER / "slurm.yaml").jobs == 50


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_file_deploys_its_entries(name: str) -> None:
    file = FOLDER / f"{name}.yaml"
    found = load_deployments(file)
    made = plan_deployments(found, DeploymentContext(FOLDER, "local.yaml", REPOSITORY, Settings()))
    assert made
    for entry in made:
        entry.flow.validate_parameters(entry.parameters)
        if found.pool.type == "process":
            assert Path(entry.parameters["file"]).is_file()


def test_prefects_own_file_agrees_with_the_local_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    configs, _ = _load_deploy_configs_and_actions(
        prefect_file=FOLDER / "prefect.yaml", console=Console(quiet=True)
    )
    ours = plan_deployments(
        load_deployments(SHIPPED), DeploymentContext(FOLDER, "local.yaml", REPOSITORY, Settings())
    )
    assert len(configs) == len(ours)
    for config, entry in zip(configs, ours, strict=True):
        flow = load_flow_from_entrypoint(config["entrypoint"])
        assert f"{flow.name}/{config['name']}" == entry.name
        flow.validate_parameters(config["parameters"])
        here = {**config["parameters"], "file": str(REPOSITORY / config["parameters"]["file"])}
        assert here == {k: v for k, v in entry.parameters.items() if k != "deployments"}
        schedules = config.get("schedules") or [None]
        assert bool(schedules[0]) == (entry.schedule is not None)


def test_steps_become_deployments_named_after_the_campaign(folder: Path) -> None:
    text = (
        "timezone: Europe/Berlin\ncampaigns:\n  - file: laptop-emt.yaml\n"
        '    screen: {cron: "0 2 * * *"}\n    loop: {every_s: 3600, rounds: 5, budget: 100}\n'
        "    fine_tune_after: 7\n"
    )
    made = {entry.name: entry for entry in planned(folder, text)}
    assert list(made) == [
        *("screen-campaign/laptop-emt", "loop-campaign/laptop-emt"),
        *("fine-tune-campaign/laptop-emt", "count-labels-campaign/laptop-emt"),
    ]
    assert made["screen-campaign/laptop-emt"].when == "0 2 * * * (Europe/Berlin)"
    assert made["loop-campaign/laptop-emt"].parameters["budget"] == 100
    counting = made["count-labels-campaign/laptop-emt"].parameters
    assert (counting["after"], counting["start"]) == (7, "fine-tune-campaign/laptop-emt")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("campaigns: [{file: laptop-emt.yaml, screen: {cron: daily}}]", "five fields.*'daily'"),
        ("campaigns: [{file: laptop-emt.yaml, screen: {corn: 1}}]", "nearest valid key is 'cron'"),
        ("campaigns: [{file: laptop-emt.yaml}]", "does nothing; give screen"),
        ("campaigns: []", "at least 1 item"),
        ("timezone: Mars/Base\n" + CAMPAIGN, "IANA database, got 'Mars/Base'"),
        ("webhook: ftp://x\n" + CAMPAIGN, "https:// address, got ftp://"),
        ("pool: {type: docker}\n" + CAMPAIGN, "image and folder is missing"),
        ("pool: {type: slurm}\n" + CAMPAIGN, "got 'slurm'"),
        ("campaigns: [{file: laptop-emt.yaml, fine_tune_after: 0}]", "greater than or equal to 1"),
        (
            'campaigns: [{file: laptop-emt.yaml, screen: {cron: "0 2 * * *", every_s: 9}}]',
            "remove one of them",
        ),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_key(folder: Path, text: str, line: str) -> None:
    with pytest.raises(CampaignError, match=line) as refused:
        stated(folder, text)
    assert "\n" not in str(refused.value)
    assert "deployments.yaml, line 1" in str(refused.value)


def test_no_deployment_shows_the_address_of_its_webhook(folder: Path) -> None:
    address = "https://hooks.example.org/T0/B0/secret"
    (entry,) = planned(folder, f"webhook: {address}\n{CAMPAIGN}")
    assert "hooks" not in str(entry.parameters)
    assert load_deployments(Path(entry.parameters["deployments"])).webhook == address


@pytest.mark.parametrize(
    "webhook", ["http://hooks.example.org/T0/secret", "[https://x.org/secret]", "x/secret"]
)
def test_a_bad_webhook_is_refused_without_its_address(folder: Path, webhook: str) -> None:
    with pytest.raises(CampaignError, match="a webhook is an https:// address") as refused:
        stated(folder, f"webhook: {webhook}\n{CAMPAIGN}")
    assert "secret" not in str(refused.value)


def test_a_webhook_without_certificate_is_consented_to(folder: Path) -> None:
    found = stated(folder, f"webhook_insecure: true\nwebhook: http://localhost/x\n{CAMPAIGN}")
    assert found.webhook == "http://localhost/x"


def test_a_campaign_file_that_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(CampaignError, match=r"nowhere\.yaml does not exist"):
        planned(folder, "campaigns: [{file: nowhere.yaml, screen: {}}]")


def test_one_campaign_is_deployed_once(folder: Path) -> None:
    twice = "{file: laptop-emt.yaml, screen: {}}"
    with pytest.raises(CampaignError, match="laptop-emt is named by"):
        planned(folder, f"campaigns: [{twice}, {twice}]")


def test_a_password_is_not_shown_in_prefect(folder: Path) -> None:
    address = "postgresql://me:secret@host/screening"
    with pytest.raises(CampaignError, match="has a password") as refused:
        planned(folder, CAMPAIGN.replace("screen:", f"database: '{address}', screen:"))
    assert "secret" not in str(refused.value)
    (entry,) = planned(folder, CAMPAIGN, database=address)
    assert "database" not in entry.parameters
    (entry,) = planned(folder, CAMPAIGN, database="own.db")
    assert entry.parameters["database"] == str(folder / "own.db")


def test_a_run_works_where_it_was_deployed(folder: Path) -> None:
    variables = job_variables(Pool(), folder)
    assert variables["working_dir"] == str(folder)
    assert (
        variables["command"].endswith("python -m prefect.engine")
        or "prefect.engine" in variables["command"]
    )
    assert variables["env"]["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_containers_see_the_folder_by_their_own_name(folder: Path) -> None:
    pool = "pool: {type: docker, image: sabatier, folder: /campaigns}\n"
    (entry,) = planned(folder, pool + CAMPAIGN)
    assert entry.parameters["file"] == "/campaigns/laptop-emt.yaml"


@pytest.mark.full
@pytest.mark.slow
def test_without_a_server_the_command_says_how_to_have_one(
    new_workplace: Callable[[], Any],
) -> None:
    said = new_workplace().run("deploy")
    assert said.status == 2
    assert said.err.startswith("sabatier: schedules are kept by a Prefect server")
    assert "--serve" in said.err


def test_a_password_in_a_variable_of_the_pool_is_refused() -> None:
    pool = Pool(variables={"env": {"SABATIER_DATABASE": "postgresql://me:hunter2@host/x"}})
    with pytest.raises(CampaignError, match=r"variable SABATIER_DATABASE .* password") as refused:
        job_variables(pool, Path())
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        *("PGPASSWORD", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "SABATIER_WEBHOOK"),
        *("MP_API_KEY", "SABATIER_MP_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "db_pass"),
    ],
)
def test_a_variable_of_the_pool_that_is_a_secret_by_its_name_is_refused(name: str) -> None:
    pool = Pool(variables={"env": {name: "hunter2"}})
    with pytest.raises(CampaignError, match=f"variable {name} .* where the workers run") as refused:
        job_variables(pool, Path())
    assert "hunter2" not in str(refused.value)
    block = "{{ prefect.blocks.secret.mine }}"
    assert job_variables(Pool(variables={"env": {name: block}}), Path())["env"][name] == block


@pytest.mark.parametrize(
    "name",
    ["PGPASSFILE", "SABATIER_CLUSTER_KEY", "SABATIER_WEBHOOK_INSECURE", "TOKENIZERS_PARALLELISM"],
)
def test_a_variable_of_the_pool_that_is_no_secret_is_taken(name: str) -> None:
    assert job_variables(Pool(variables={"env": {name: "x"}}), Path())["env"][name] == "x"


def test_a_password_in_the_command_of_the_pool_is_refused() -> None:
    pool = Pool(variables={"command": "PGPASSWORD=hunter2 python -m prefect.engine"})
    with pytest.raises(CampaignError, match="variable command of the pool has a password"):
        job_variables(pool, Path())


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"job": {"spec": [{"api_token": "hunter2"}]}}, "api_token"),
        ({"env": [{"name": "PGPASSWORD", "value": "hunter2"}]}, "PGPASSWORD"),
        ({"password": "hunter2"}, "password"),
        ({"command": "run --password hunter2"}, "command"),
        ({"command": "run --db-password=hunter2"}, "command"),
        ({"args": ["run", "--password", "hunter2"]}, "args"),
        ({"env": {"SSH_KEY": "hunter2"}}, "SSH_KEY"),
        ({"env": {"PGPASS": "hunter2"}}, "PGPASS"),
        ({"env": {"NOTIFY": "https://hooks.slack.com/services/hunter2"}}, "NOTIFY"),
        ({"env": {"SITE": "https://host/a?oauth_client_secret=hunter2"}}, "SITE"),
    ],
)
def test_a_secret_anywhere_in_the_pool_is_refused(variables: dict[str, Any], name: str) -> None:
    if isinstance(variables.get("env"), list):
        variables = {"job": variables}
    with pytest.raises(CampaignError, match=f"variable {name} of the pool has a") as refused:
        job_variables(Pool(variables=variables), Path())
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"job": {"valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}}},
        {"volume": {"secret": {"secretName": "tls"}}, "automountServiceAccountToken": False},
        {"command": "run --password-file /run/secrets/pw --token $TOKEN"},
    ],
)
def test_where_a_secret_is_kept_may_be_said(variables: dict[str, Any]) -> None:
    assert job_variables(Pool(variables=variables), Path()).items() >= variables.items()

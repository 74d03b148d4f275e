"""What is composed becomes frozen settings, and whatever does not fit names its full key."""

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from conf.compose import compose_settings, typed
from conf.structured import full_keys, mirror, register
from towers.errors import ConfigError
from towers.settings import bounded

ROOT = Path(__file__).resolve().parent.parent.parent


class Metric(StrEnum):
    DOT = "inner_product"
    COSINE = "cosine"


@dataclass(frozen=True, slots=True)
class Layer:
    width: int = bounded(64, ge=1)


@dataclass(frozen=True, slots=True)
class Model:
    dim: int = bounded(64, ge=1, le=1024)
    dropout: float = bounded(0.1, ge=0, lt=1)
    metric: Metric = Metric.DOT
    fallback: Metric | None = None
    metrics: list[Metric] = field(default_factory=lambda: [Metric.DOT])
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    names: dict[str, str] = field(default_factory=dict)
    metric_of: dict[str, Metric] = field(default_factory=lambda: {"item": Metric.DOT})
    layer: Layer = field(default_factory=lambda: Layer(width=16))
    head: Layer | None = None
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    path: str
    limit: int = bounded(10, ge=1)


@dataclass(frozen=True, slots=True)
class Planted:
    num_rows: int = 5
    limit: int = bounded(10, ge=1)


@dataclass(frozen=True, slots=True)
class Job:
    source: Folder | Planted
    model: Model = field(default_factory=lambda: Model(metric=Metric.COSINE))
    artifacts: str = "artifacts"
    root: str | None = None
    num_items: int = field(kw_only=True)


@pytest.fixture(scope="module")
def config_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conf")
    (folder / "model").mkdir()
    (folder / "source").mkdir()
    groups = "defaults:\n  - job_schema\n  - source: planted\n  - model: small\n  - _self_\n"
    (folder / "job.yaml").write_text(groups + "num_items: 7\n")
    (folder / "unset.yaml").write_text(groups)
    (folder / "source" / "planted.yaml").write_text("defaults:\n  - planted_schema\nnum_rows: 6\n")
    (folder / "source" / "folder.yaml").write_text("defaults:\n  - folder_schema\n")
    (folder / "source" / "untyped.yaml").write_text("num_rows: 6\n")
    (folder / "model" / "small.yaml").write_text("dim: 32\nhead:\n  width: 8\n")
    (folder / "model" / "misspelt.yaml").write_text("dmi: 32\n")
    (folder / "model" / "mistyped.yaml").write_text("dim: wide\n")
    (folder / "model" / "code.yaml").write_text("layer:\n  _target_: os.system\n")
    register("job_schema", Job)
    register("planted_schema", Planted, group="source")
    register("folder_schema", Folder, group="source")
    return folder


def composed(config_dir: Path, *overrides: str) -> Job:
    return compose_settings(Job, "job", overrides, config_dir)


def test_yaml_fills_the_dataclass_and_its_defaults_fill_the_rest(config_dir: Path) -> None:
    assert composed(config_dir) == Job(
        source=Planted(num_rows=6),
        model=Model(dim=32, metric=Metric.COSINE, layer=Layer(width=16), head=Layer(width=8)),
        num_items=7,
    )


def test_the_command_line_wins_over_yaml(config_dir: Path) -> None:
    job = composed(
        config_dir,
        *("model.dim=3", "model.dropout=0", "model.metric=inner_product", "model.fallback=cosine"),
        *("model.metrics=[cosine,inner_product]", "model.sizes=[]", "model.layer.width=5", "model.head=null"),
        *("model.verbose=true", "root=/data"),
    )
    model = Model(
        dim=3,
        dropout=0.0,
        metric=Metric.DOT,
        fallback=Metric.COSINE,
        metrics=[Metric.COSINE, Metric.DOT],
        sizes=[],
        layer=Layer(width=5),
        head=None,
        verbose=True,
    )
    assert job == Job(source=Planted(num_rows=6), model=model, root="/data", num_items=7)
    assert type(job.model.metric) is Metric
    assert type(job.model.dropout) is float


def test_a_group_may_choose_between_settings_of_different_kinds(config_dir: Path) -> None:
    assert composed(config_dir).source == Planted(num_rows=6)
    assert composed(config_dir, "source=folder", "source.path=/logs").source == Folder("/logs")


def test_a_map_takes_keys_of_the_users_own_beside_those_it_has(config_dir: Path) -> None:
    job = composed(config_dir, "model.names={a: b, c.d: 3}", "model.metric_of.user=cosine")
    assert job.model.names == {"a": "b", "c.d": "3"}
    assert job.model.metric_of == {"item": Metric.DOT, "user": Metric.COSINE}
    assert type(job.model.metric_of["user"]) is Metric
    one_by_one = composed(config_dir, "model.names.a=b", "+model.names.c=d", "model.metric_of.item=cosine")
    assert one_by_one.model.names == {"a": "b", "c": "d"}
    assert one_by_one.model.metric_of == {"item": Metric.COSINE}
    assert composed(config_dir).model.names == {}


def test_settings_stay_frozen(config_dir: Path) -> None:
    with pytest.raises(FrozenInstanceError):
        composed(config_dir).model.dim = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "key", "said"),
    [
        ("model.dmi=64", "model.dmi", "did you mean model.dim?"),
        ("+model.dmi=64", "model.dmi", "did you mean model.dim?"),
        ("modle=small", "modle", "did you mean model?"),
        ("dmi=64", "dmi", "did you mean model.dim?"),
        ("num_row=3", "num_row", "did you mean source.num_rows?"),
        ("dr=3", "dr", "expected one of source, model, artifacts, root, num_items"),
        ("model.dr=3", "model.dr", "expected one of model.dim, model.dropout, model.metric, model.fallback"),
        ("+zzzzzzzz=1", "zzzzzzzz", "expected one of source, model, artifacts, root, num_items"),
        ("model.dim=abc", "model.dim", "found 'abc'; expected int"),
        ("model.dim=2.5", "model.dim", "found '2.5'; expected int"),
        ("model.dim=true", "model.dim", "found 'True'; expected int"),
        ("model.dim=null", "model.dim", "expected int"),
        ("model.verbose=perhaps", "model.verbose", "found 'perhaps'; expected bool"),
        ("model.sizes=3", "model.sizes", "expected a list of int"),
        ("model.sizes=[1,b]", "model.sizes[1]", "found 'b'; expected int"),
        ("model.layer=3", "model.layer", "expected the keys width"),
        ("model.dim=0", "model.dim", "0 is out of range; expected >= 1"),
        ("model.dropout=nan", "model.dropout", "nan is out of range"),
        ("model.layer.width=-1", "model.layer.width", "-1 is out of range"),
        ("model.metric=euclid", "model.metric", "'euclid' is not a choice; expected one of inner_product"),
        ("model.metric=DOT", "model.metric", "'DOT' is not a choice"),
        ("model.fallback=euclid", "model.fallback", "expected one of inner_product, cosine"),
        ("model.metrics=[cosine,euclid]", "model.metrics[1]", "expected one of inner_product, cosine"),
        ("model.names=3", "model.names", "expected a map of names to str"),
        ("model.names={a: [b]}", "model.names.a", "found ['b']; expected str"),
        ("model.names={a: {b: c}}", "model.names.a", "found {'b': 'c'}; expected str"),
        ("model.names.a=null", "model.names.a", "expected str"),
        ("model.names={_target_: os.system}", "model.names._target_", "a config names no code"),
        ("model.metric_of={item: euclid}", "model.metric_of.item", "'euclid' is not a choice; expected one"),
        ("source.num_rows=x", "source.num_rows", "found 'x'; expected int"),
        ("source.num_row=3", "source.num_row", "did you mean source.num_rows?"),
        ("+source.num_row=3", "source.num_row", "did you mean source.num_rows?"),
        ("source.limit=0", "source.limit", "0 is out of range; expected >= 1"),
        ("source.path=x", "source.path", "not a key of Planted, the option chosen"),
        ("source=folder", "source.path", "not set; expected str; set it with source.path=…"),
        ("source=untyped", "source", "expected an option, source=…"),
        ("model=large", "model=large", "no such option; expected one of code, misspelt, mistyped, small"),
        ("model=misspelt", "model.dmi", "did you mean model.dim? (in model/misspelt.yaml)"),
        ("model=mistyped", "model.dim", "found 'wide'; expected int (in model/mistyped.yaml)"),
        ("root=${nowhere}", "root", "'nowhere' not found"),
        ("+model._target_=os.system", "model._target_", "a config names no code"),
        ("model=code", "model.layer._target_", "unknown key"),
        ("model.dim", "model.dim", "missing EQUAL"),
        ("hydra.output_subdri=x", "hydra.output_subdri", "not in 'HydraConf'"),
    ],
)
def test_a_setting_that_does_not_fit_names_its_key(
    override: str, key: str, said: str, config_dir: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        composed(config_dir, override)
    message = str(caught.value)
    assert key in message
    assert said in message
    assert "\n" not in message


def test_a_setting_without_a_default_must_be_set(config_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"^num_items: not set; expected int; set it with num_items=…$"):
        compose_settings(Job, "unset", (), config_dir)


def test_code_is_refused_where_no_schema_stands_in_its_way() -> None:
    cfg = OmegaConf.create({"model": {"sizes": [{"_target_": "os.system"}]}})
    with pytest.raises(ConfigError, match=r"model\.sizes\.0\._target_: found 'os\.system'"):
        typed(cfg, Job)


@settings(deadline=None)
@given(
    dim=st.integers(1, 1024),
    dropout=st.floats(0, 1, exclude_max=True),
    metric=st.sampled_from(Metric),
    fallback=st.none() | st.sampled_from(Metric),
    sizes=st.lists(st.integers()),
    head=st.none() | st.builds(Layer, width=st.integers(1, 9)),
)
def test_settings_survive_the_way_to_hydra_and_back(
    dim: int,
    dropout: float,
    metric: Metric,
    fallback: Metric | None,
    sizes: list[int],
    head: Layer | None,
) -> None:
    model = Model(dim, dropout, metric, fallback, sizes=sizes, head=head)
    plain = {
        "dim": dim,
        "dropout": dropout,
        "metric": metric.value,
        "fallback": fallback.value if fallback else None,
        "sizes": sizes,
        "head": {"width": head.width} if head else None,
    }
    assert typed(OmegaConf.create(plain), Model) == model


def test_the_mirror_has_the_keys_and_the_defaults_of_the_settings() -> None:
    shown = OmegaConf.to_container(OmegaConf.structured(mirror(Job)))
    assert shown == {
        "source": "???",
        "model": {
            "dim": 64,
            "dropout": 0.1,
            "metric": "cosine",
            "fallback": None,
            "metrics": ["inner_product"],
            "sizes": [1, 2],
            "names": {},
            "metric_of": {"item": "inner_product"},
            "layer": {"width": 16},
            "head": None,
            "verbose": False,
        },
        "artifacts": "artifacts",
        "root": None,
        "num_items": "???",
    }
    assert "model.layer.width" in full_keys(Job)


SCRIPT = """
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from conf.compose import run
from conf.structured import register
from towers.errors import MissingDataError


@dataclass(frozen=True, slots=True)
class Settings:
    dim: int = 64
    fault: str = "none"


def main(settings: Settings) -> None:
    if settings.fault == "foreseen":
        raise MissingDataError("data: no such folder")
    if settings.fault == "crash":
        raise ZeroDivisionError("a crash")
    if settings.fault == "denied":
        raise PermissionError(errno.EACCES, "Permission denied", "artifacts/tables")
    if settings.fault == "file":
        Path("job.py", "tables").mkdir()
    if settings.fault == "stopped":
        raise KeyboardInterrupt
    print(f"dim={settings.dim} HYDRA_FULL_ERROR={os.environ.get('HYDRA_FULL_ERROR')}")


if __name__ == "__main__":
    register("settings", Settings)
    run(main, Settings, "job", Path(__file__).parent / "conf")
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("script")
    (folder / "conf").mkdir()
    (folder / "conf" / "job.yaml").write_text("defaults:\n  - settings\n  - _self_\n")
    (folder / "job.py").write_text(SCRIPT)
    return folder / "job.py"


def ran(script: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=script.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_hands_over_settings_and_leaves_no_litter(script: Path) -> None:
    before = sorted(script.parent.rglob("*"))
    answer = ran(script, "dim=3")
    assert (answer.returncode, answer.stdout) == (0, "dim=3 HYDRA_FULL_ERROR=None\n")
    assert sorted(script.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("dmi=3", "error: dmi: unknown key; did you mean dim?\n"),
        ("dim=x", "error: dim: found 'x'; expected int\n"),
        ("fault=foreseen", "error: data: no such folder\n"),
        (
            "fault=denied",
            "error: artifacts/tables: Permission denied; expected a place that this user may read and write: "
            "change its rights, or name another one (artifacts=… for what is written)\n",
        ),
        (
            "fault=file",
            "error: job.py: is a file; expected a folder, or nothing yet: name another, artifacts=…\n",
        ),
    ],
)
def test_a_foreseen_error_is_one_line_and_exit_code_2(argument: str, line: str, script: Path) -> None:
    answer = ran(script, argument)
    assert (answer.returncode, answer.stderr, answer.stdout) == (2, line, "")


def test_a_stopped_job_ends_in_one_line_and_as_a_shell_says_it(script: Path) -> None:
    answer = ran(script, "fault=stopped")
    line = "stopped by Ctrl-C; tables, models and releases that stood before still stand\n"
    assert (answer.returncode, answer.stderr, answer.stdout) == (130, line, "")


def test_a_crash_keeps_its_traceback_and_exit_code_1(script: Path) -> None:
    answer = ran(script, "fault=crash")
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr
    assert "ZeroDivisionError: a crash" in answer.stderr


def test_hydras_own_variable_shows_the_traceback_of_a_foreseen_error(script: Path) -> None:
    answer = ran(script, "dmi=3", HYDRA_FULL_ERROR="1")
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr


def test_a_sweep_runs_the_job_once_per_value(script: Path) -> None:
    answer = ran(script, "--multirun", "dim=1,2", "hydra.sweep.dir=sweep")
    assert answer.returncode == 0, answer.stderr
    assert [line for line in answer.stdout.splitlines() if line.startswith("dim")] == [
        "dim=1 HYDRA_FULL_ERROR=None",
        "dim=2 HYDRA_FULL_ERROR=None",
    ]

"""From the command line to frozen settings, and from a deliberate error to one line and an exit code."""

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import hydra
from hydra.conf import HydraConf, RunDir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf.explain import config_error
from conf.structured import alternatives, arms, given_of, hints_of, is_choice, mirror, spelled
from towers.errors import DISK_FULL, ConfigError, TowersError
from towers.settings import Partly, check_ranges

CONF = Path(__file__).parent
"""The folder of the entry configs and their groups."""

DELIBERATE = 2
"""Exit code of an error that was foreseen and explained; a crash keeps Python's own, 1."""

STOPPED = 128 + signal.SIGINT
"""Exit code of a job that Ctrl-C ended, as a shell says it."""

_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL_ERROR = "HYDRA_FULL_ERROR"

T = TypeVar("T")


def run(job: Callable[[T], None], settings_type: type[T], config_name: str, config_dir: Path = CONF) -> None:
    """Runs `job` on the settings that the command line and `config_name` compose; Hydra's flags all work.

    A setting that is unknown, of the wrong type or out of range, every TowersError of the job, a full disk
    and a place that may not be read or written end the process with one line on stderr and exit code 2;
    Ctrl-C ends it with one line and exit code 130. HYDRA_FULL_ERROR=1 shows the traceback instead.
    """
    given = os.environ.get(_FULL_ERROR)

    @functools.wraps(job)
    def composed_job(cfg: DictConfig) -> None:
        # As it was given, so that no process that the job starts inherits what is set for Hydra below.
        with _environment(_FULL_ERROR, given), _explained(settings_type, given):
            job(typed(cfg, settings_type))

    _configure_hydra()
    entry = hydra.main(version_base="1.3", config_path=str(config_dir.resolve()), config_name=config_name)
    # Hydra then raises its errors; else it prints them over several lines and exits by itself.
    with _environment(_FULL_ERROR, "1"), _explained(settings_type, given):
        entry(composed_job)()


def compose_settings(
    settings_type: type[T], config_name: str, overrides: Sequence[str] = (), config_dir: Path = CONF
) -> T:
    """The settings that `config_name` and the overrides compose, as `run` would hand them to a job.

    Raises ConfigError that names the key at fault.
    """
    _configure_hydra()
    try:
        with hydra.initialize_config_dir(str(config_dir.resolve()), version_base="1.3"):
            cfg = hydra.compose(config_name, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise config_error(error, settings_type) from error
    return typed(cfg, settings_type)


def typed(cfg: DictConfig, settings_type: type[T]) -> T:
    """The frozen settings that a composed config holds; ConfigError names the full key at fault."""
    plain = OmegaConf.to_container(cfg, resolve=False)
    _refuse_targets(plain)
    schema: type = settings_type
    try:
        # Once more onto the schema: Hydra lets `+key=value` add keys that it does not know.
        bare = OmegaConf.structured(mirror(schema))
        chosen = _chosen(cfg, settings_type)
        for name, arm in chosen.items():
            bare[name] = OmegaConf.structured(mirror(arm))
        checked = OmegaConf.merge(bare, plain)
        values = OmegaConf.to_container(checked, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise config_error(error, settings_type) from error
    settings = _built(settings_type, values, "", chosen)
    check_ranges(settings)
    return cast("T", settings)


def _chosen(cfg: DictConfig, settings_type: type) -> dict[str, type]:
    """Which of several dataclasses each such setting got from its group; ConfigError where from none."""
    chosen = {}
    for name, hint in get_type_hints(settings_type).items():
        of_mirror = {mirror(arm): arm for arm in alternatives(hint)}
        if of_mirror:
            found = OmegaConf.get_type(cfg, name)
            if found not in of_mirror:
                raise ConfigError(f"{name}: found no settings of its own; expected an option, {name}=…")
            chosen[name] = of_mirror[found]
    return chosen


def _built(hint: Any, value: Any, key: str, chosen: Mapping[str, type]) -> Any:
    """`value`, plain and already of the mirrored type, as the type that the settings declare."""
    if value is None:
        return None
    for arm in (chosen[key],) if key in chosen else arms(hint):
        if is_choice(arm):
            return _member(arm, value, key)
        if below := hints_of(arm):
            named = {
                name: _built(hint, value[name], f"{key}.{name}" if key else name, chosen)
                for name, hint in below.items()
            }
            given = given_of(arm)
            return arm(**named) if given is None else Partly(given, _some(named))
        if get_origin(arm) is list:
            (element,) = get_args(arm)
            return [_built(element, each, f"{key}[{place}]", chosen) for place, each in enumerate(value)]
        if get_origin(arm) is dict:
            element = get_args(arm)[1]
            for name, each in value.items():
                # OmegaConf lets anything into an open map.
                if element is not Any and (each is None or isinstance(each, dict | list)):
                    raise ConfigError(f"{key}.{name}: found {each!r}; expected {spelled(element)}")
            return {name: _built(element, each, f"{key}.{name}", chosen) for name, each in value.items()}
    return value


def _some(named: Mapping[str, Any]) -> dict[str, Any]:
    """What is given of settings: all but null, and settings inside of them of which nothing is given."""
    return {
        name: value
        for name, value in named.items()
        if value is not None and not (isinstance(value, Partly) and not value.values)
    }


def _member(choice: Any, value: str, key: str) -> Any:
    try:
        return choice(value)
    except ValueError as error:
        raise ConfigError(f"{key}: {value!r} is not a choice; expected {spelled(choice)}") from error


def _refuse_targets(value: Any, key: str = "") -> None:
    """Raises ConfigError where a config names code: nothing here is ever instantiated from a string."""
    nested = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in nested:
        full_key = f"{key}.{name}" if key else str(name)
        if name == "_target_":
            raise ConfigError(f"{full_key}: found {inner!r}; expected settings only, a config names no code")
        _refuse_targets(inner, full_key)


_PLAIN_LOGGING = {
    "version": 1,
    "formatters": {
        "plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s", "datefmt": "%H:%M:%S"}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "disable_existing_loggers": False,
}


def _configure_hydra() -> None:
    """One run writes nothing beside its artifacts, and logs plain lines to stderr: stdout is for answers."""
    store = ConfigStore.instance()
    store.store(group="hydra/job_logging", name="plain", node=_PLAIN_LOGGING)
    ours = HydraConf(run=RunDir(dir="."), output_subdir=None)
    ours.defaults = [{"job_logging": "plain"} if "job_logging" in each else each for each in ours.defaults]
    store.store(group="hydra", name="config", node=ours)


@contextmanager
def _explained(settings_type: type, full_error: str | None) -> Iterator[None]:
    """Ends the process with one line and DELIBERATE on a foreseen error, unless its trace is wanted."""
    try:
        yield
    except (TowersError, HydraException, OmegaConfBaseException) as error:
        if full_error == "1":
            raise
        explained = error if isinstance(error, TowersError) else config_error(error, settings_type)
        print(f"error: {explained}", file=sys.stderr)
        sys.exit(DELIBERATE)
    except OSError as error:
        explained_place = _of_the_place(error)
        if full_error == "1" or explained_place is None:
            raise
        print(f"error: {explained_place}", file=sys.stderr)
        sys.exit(DELIBERATE)
    except KeyboardInterrupt:
        if full_error == "1":
            raise
        print("stopped by Ctrl-C; tables, models and releases that stood before still stand", file=sys.stderr)
        sys.exit(STOPPED)


def _of_the_place(error: OSError) -> str | None:
    """What is wrong with where a job reads or writes; None of a fault that is the program's own."""
    if error.errno in DISK_FULL:
        return f"no room on the disk: {error}; free it and run again"
    if error.errno in _NOT_OURS and error.filename is not None:
        return (
            f"{error.filename}: {error.strerror}; expected a place that this user may read and write: change "
            "its rights, or name another one (artifacts=… for what is written)"
        )
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename is not None:
        named = Path(error.filename)
        for path in (named, *named.parents):
            if path.is_file():
                return f"{path}: is a file; expected a folder, or nothing yet: name another, artifacts=…"
    return None


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.get(name)
    _set_variable(name, value)
    try:
        yield
    finally:
        _set_variable(name, before)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value

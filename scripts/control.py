"""What a profile decided over what it is shown: looked at, changed, or forgotten."""

from pathlib import Path

from conf.compose import run
from conf.viewers import ControlSettings
from retrieval.control.controls import Controls
from retrieval.control.store import CONTROLS_FILE, ControlsStore
from towers.errors import MissingDataError


def control(settings: ControlSettings) -> None:
    """Changes what is given and prints the controls as they are then; the first change makes their file."""
    path, change = Path(settings.artifacts) / CONTROLS_FILE, settings.change()
    if not path.parent.is_dir():
        raise MissingDataError(f"{path.parent}: no such folder; expected that of a service, artifacts=…")
    if not path.exists() and (settings.forget or (change is None and settings.new_pin is None)):
        print("nothing was held" if settings.forget else Controls().to_json())
        return
    store = ControlsStore(path) if path.exists() else ControlsStore.create(path)
    if settings.forget:
        print("forgotten" if store.forget(settings.profile) else "nothing was held")
        return
    if settings.new_pin is not None:
        store.set_pin(settings.profile, settings.new_pin, pin=settings.pin)
    if change is None:
        print(store.of(settings.profile).to_json())
        return
    pin = settings.pin if settings.new_pin is None else settings.new_pin
    print(store.change(settings.profile, change, pin=pin).to_json())


if __name__ == "__main__":
    run(control, ControlSettings, "control")

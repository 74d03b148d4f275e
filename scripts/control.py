"""What a profile decided over what it is shown: looked at, changed, or forgotten."""

from pathlib import Path

from conf.compose import run
from conf.viewers import ControlSettings
from retrieval.control.store import CONTROLS_FILE, ControlsStore


def control(settings: ControlSettings) -> None:
    """Changes what is given and prints the controls as they are then; the first change makes their file."""
    path = Path(settings.artifacts) / CONTROLS_FILE
    store = ControlsStore(path) if path.exists() else ControlsStore.create(path)
    if settings.forget:
        print("forgotten" if store.forget(settings.profile) else "nothing was held")
        return
    if settings.new_pin is not None:
        store.set_pin(settings.profile, settings.new_pin, pin=settings.pin)
    pin = settings.pin if settings.new_pin is None else settings.new_pin
    print(store.change(settings.profile, settings.change(), pin=pin).to_json())


if __name__ == "__main__":
    run(control, ControlSettings, "control")

"""What the project promises, and how each promise is measured."""

import towers  # noqa: F401  # first: how waiting threads behave is settled when torch is loaded

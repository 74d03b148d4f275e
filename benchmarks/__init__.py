"""What the project promises, and how each promise is measured."""

"""Entry points: each composes its settings, calls the library, and holds no logic of its own."""

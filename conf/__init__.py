"""Configuration of the scripts: YAML that fills settings dataclasses, and the way from one to the other."""

"""The commands of ``python -m simulator``."""

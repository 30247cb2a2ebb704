"""The command line: picks a recipe, overrides its settings, shows progress and results."""

from docendo.cli.app import main

__all__ = ["main"]

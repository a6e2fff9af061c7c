"""Tools of the repository: gates, generated pages, the demonstration. Run from its root: `python -m tools.NAME`."""

"""YAML with line numbers, overrides, and errors as `file:line`."""

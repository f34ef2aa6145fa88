"""YAML with line numbers, changes of it, and errors as `file:line`."""

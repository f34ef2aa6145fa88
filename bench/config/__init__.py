"""Read YAML with line numbers, apply `--set` changes, report errors as `file:line`."""

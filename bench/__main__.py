"""Run `python -P -m bench` as `bench`; without -P, Python imports from the working folder."""

from bench.cli.app import main

main()

"""Run the command `bench` as `python -P -m bench`.

Without -P, Python would import modules from the working folder first.
"""

from bench.cli.app import main

main()

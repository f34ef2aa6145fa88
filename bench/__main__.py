"""`python -P -m bench` is `bench`; without `-P` it is what the folder one stands in makes of it."""

from bench.cli import main

main()

"""The verb `ui`: serve MLflow's web pages."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from bench.callbacks import mlflow
from bench.cli import options
from bench.results import Results


def command(
    results: options.ResultsDir = Path("results"),
    host: Annotated[str, Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(metavar="PORT", help="Port to listen on.")] = 5000,
) -> None:
    """Start MLflow's web interface for a results folder.

    Example: bench ui --results results --port 5000
    """
    raise typer.Exit(mlflow.ui(Results(results), host, port))

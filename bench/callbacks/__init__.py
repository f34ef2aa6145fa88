"""Observers of a run of a suite: MLflow, and what is seen on a terminal."""

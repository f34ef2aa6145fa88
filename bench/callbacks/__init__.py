"""Observers of a running suite: console, text and JSON lines, MLflow."""

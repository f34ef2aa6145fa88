"""Observers of a running suite: the console (live table, text or JSON lines), and MLflow."""

"""Observers of a running suite: the console (table, text or JSON), MLflow and TensorBoard."""

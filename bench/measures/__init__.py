"""Measures of finished networks: probes, corruptions, similarity to the teacher, calibration.

docs/MEASURES.md defines each measure. No measure changes a network.
"""

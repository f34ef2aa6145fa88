"""Training of a cohort: runs with the same teacher and seed, trained together on one device."""

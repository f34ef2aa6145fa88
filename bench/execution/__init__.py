"""The execution of a plan: the runner schedules cohorts, executors start workers, workers train."""

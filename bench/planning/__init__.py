"""From a suite to runs and cohorts, and an estimate of their cost."""

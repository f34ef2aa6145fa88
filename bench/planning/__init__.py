"""Turn a suite into runs, group runs that train together (cohorts), and estimate their cost."""

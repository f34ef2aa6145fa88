"""Jobs and those who do them: the runner plans, executors start, workers train."""

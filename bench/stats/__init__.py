"""Statistics over seeds: estimates, differences, corrected verdicts, ranks. Imports no torch.

Tables call `compare_to_baseline`; the regression check calls `regression_verdicts` and
`difference_verdicts`. All tests assume that the runs of a cell are normally distributed.
"""

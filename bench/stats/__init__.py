"""Statistics over seeds: intervals, t-tests, Holm's correction, average ranks. Without torch.

A cell is one method on one teacher-student pair, run with several seeds. Report tables call
`compare_to_baseline`. The regression check calls `regression_verdicts` and `difference_verdicts`.
All t-tests assume that the values of a cell's runs are normally distributed.
"""

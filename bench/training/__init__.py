"""A cohort of networks in training: objectives, learners, lockstep, measurement."""

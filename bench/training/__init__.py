"""Training of a cohort: several runs in lockstep on one device, with one teacher."""

"""Where jobs run: this machine, Ray, Slurm."""

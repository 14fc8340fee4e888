"""Registration of models: checks, estimates, defaults and the scheduler's entries."""

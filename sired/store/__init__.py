"""What is kept on disk: registered models, learned footprints, jobs, history."""

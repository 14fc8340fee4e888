"""Real models: what public packages ship, and what their own code answers."""

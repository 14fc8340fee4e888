"""What many models and many queued requests cost: the brain alone, and a whole daemon."""

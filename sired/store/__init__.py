"""What is kept on disk: the registry of models and what was learned of them."""

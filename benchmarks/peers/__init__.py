"""Other servers of the same models, each in a virtual environment of its own."""

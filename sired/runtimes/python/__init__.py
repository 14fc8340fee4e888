"""Models of any framework, loaded by a class of the user's own."""

"""A made-up world that drives the real brain with random events, and watches what it does."""

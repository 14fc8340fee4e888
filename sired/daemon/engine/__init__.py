"""Between the brain and the world: operations, instructions carried out, events."""

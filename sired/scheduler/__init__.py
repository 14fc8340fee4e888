"""The scheduler: events in, instructions out. Pure: no I/O, no clock, no threads."""

"""Which models hold memory, and how room is made: the fleet, loads, tiers and pools."""

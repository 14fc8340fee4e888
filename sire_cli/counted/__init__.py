"""What was counted, for people: tables, what happened minute by minute, and drawings of it."""

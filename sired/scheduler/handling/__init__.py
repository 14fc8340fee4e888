"""How each event is handled: requests, loads, leases, deadlines, lost devices."""

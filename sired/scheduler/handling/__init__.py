"""What becomes of each event: requests, loads, leases, deadlines, lost devices."""

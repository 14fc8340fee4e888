"""The load test behind ``sire bench``: plan, driver and report."""

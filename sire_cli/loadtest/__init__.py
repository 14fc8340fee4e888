"""The load test behind `sire bench`: its plan, its clients and its report."""

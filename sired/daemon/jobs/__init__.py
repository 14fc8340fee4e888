"""Durable predictions (jobs): submitted, run when their turn comes, waited for."""

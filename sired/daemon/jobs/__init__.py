"""Durable predictions: submitted, run when their turn comes, waited for."""

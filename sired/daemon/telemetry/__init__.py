"""Counters, latency histograms, the history of each minute, and the export to Prometheus."""

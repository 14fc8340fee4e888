"""Detects devices and reports how full they are."""

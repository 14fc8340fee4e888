"""The live view: pure functions that draw one report, and the loop that updates the screen."""

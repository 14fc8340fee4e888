"""The live view: a pure drawing of one report, and the loop that keeps it on the screen."""

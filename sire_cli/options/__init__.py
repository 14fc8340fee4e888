"""Arguments and options of commands, their completion, and the layout of help."""

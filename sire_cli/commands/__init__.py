"""One file per verb, each with a function of the verb's name."""

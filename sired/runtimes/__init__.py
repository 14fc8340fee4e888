"""The runtimes: how models of one kind are loaded and run, each in one file.

They are found by the entry point group ``sire.runtimes`` and imported in workers only.
"""

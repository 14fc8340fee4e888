"""The runtimes: each loads and runs models of one kind, and has a folder of its own.

The entry point group ``sire.runtimes`` names their traits. Implementations are imported in workers
only.
"""

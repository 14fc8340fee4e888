"""The tables and charts of ``sire stats``."""

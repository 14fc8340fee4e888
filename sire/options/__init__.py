"""A model's options: declared once in ``table``, and what is derived from the declaration."""

"""The manual pages, and what writes them."""

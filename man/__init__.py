"""The manual pages, and the program that generates them."""

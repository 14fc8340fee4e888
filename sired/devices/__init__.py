"""What hardware there is and how full it is."""

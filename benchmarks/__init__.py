"""What `make bench` measures; README.md in this folder explains each line."""

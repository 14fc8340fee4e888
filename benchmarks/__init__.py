"""What `make bench` measures; README.md beside this explains each line."""

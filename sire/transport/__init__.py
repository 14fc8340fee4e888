"""Private lines between two processes of one machine: packets, and memory passed by descriptor."""

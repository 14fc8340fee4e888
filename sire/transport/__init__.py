"""Socket pairs between processes of one machine: packets, and memory passed by descriptor."""

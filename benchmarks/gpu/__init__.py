"""What loads, switches and requests take on a GPU, beside what the bus and the disk can do."""

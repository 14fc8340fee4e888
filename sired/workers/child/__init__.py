"""What runs inside a worker: the model, its requests, its memory."""

"""What the gateway adds to a model, beside an HTTP echo of the same stack and other servers."""

"""OpenAI's files and batches: many requests in a file, answered by durable jobs of low priority."""

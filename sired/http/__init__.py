"""A client for HTTP servers that models run on: connections, requests, streamed answers."""

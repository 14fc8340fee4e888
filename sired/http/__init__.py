"""HTTP servers that the daemon and its workers ask: connections, requests, answers in parts."""

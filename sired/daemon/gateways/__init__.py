"""Services: gateways that the daemon starts, watches and starts again."""

"""The entities: models, instances, requests, leases, queues and accounts."""

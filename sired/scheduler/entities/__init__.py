"""What the brain knows of: models, instances, requests, leases, queues, accounts."""

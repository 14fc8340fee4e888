"""Models, copies and services, in the words of an orchestrator of a cluster; for one node."""

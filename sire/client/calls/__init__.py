"""Methods of ``ModelManager`` beyond one prediction: jobs, leases, pools, many inputs."""

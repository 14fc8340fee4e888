"""What a client asks for beyond one prediction: jobs, leases, pools, many inputs."""

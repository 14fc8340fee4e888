"""The workers' processes: started, watched, ended."""

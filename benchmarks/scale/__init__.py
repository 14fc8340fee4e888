"""What many models and many queued requests cost, in the scheduler alone and in a daemon."""

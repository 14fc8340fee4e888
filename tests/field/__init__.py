"""Models and files as users have them: every answer is compared with the truth."""

"""OpenAI's API, for models that sire runs itself."""

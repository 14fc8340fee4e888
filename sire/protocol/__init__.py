"""The language of the front socket: messages, how they are framed, and content types."""

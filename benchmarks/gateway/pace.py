"""How the program of the chat benchmark answers."""

# Of each answer, one after the other.
TOKENS = 100
TOKEN_SECONDS = 0.02

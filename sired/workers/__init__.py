"""The hands: the zygote, the processes that hold models, and the private line to them."""

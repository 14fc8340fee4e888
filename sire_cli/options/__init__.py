"""What commands take: arguments, durations, completion, and how help shows them."""

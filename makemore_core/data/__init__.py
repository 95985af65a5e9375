"""Words, splits, contexts, and the count models over them."""

"""The exact rankers: blocks of users x the item tensor -> blocks of top-k. Needs numpy and torch alone."""

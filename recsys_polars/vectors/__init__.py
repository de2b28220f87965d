"""Vector blocks of items: from text, from numbers, or brought along by the user."""

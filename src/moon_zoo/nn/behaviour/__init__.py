"""What a user's history says about the item shown: target attention by ids, and interests by content similarity."""

"""Core regions: where in a photo the product on sale is, found before training and stored with the item."""

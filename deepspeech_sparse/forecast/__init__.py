"""What a recipe's pruning will do, before any training."""

"""What a config can name under any launcher: hooks, optimisers, strategies."""

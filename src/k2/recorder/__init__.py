"""The exchange's frames, written down as they come, for `k2 exchange --recording` to play again."""

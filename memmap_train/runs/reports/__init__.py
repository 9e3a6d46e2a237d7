"""What a training shows and says: its plan, its progress, its result, its picture."""

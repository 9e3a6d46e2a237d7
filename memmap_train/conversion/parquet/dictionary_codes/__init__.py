"""Codes of features straight from dictionary pages, without Arrow."""

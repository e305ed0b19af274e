"""The two-tower image-text baseline; see README.md beside this file."""

"""Pictures and tables of a run: learning curves, retrieval galleries, final figures."""

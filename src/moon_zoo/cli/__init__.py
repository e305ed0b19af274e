"""The command line, one verb per file; `main` dispatches before anything heavy is imported."""

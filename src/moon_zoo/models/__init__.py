"""The models of the zoo, one folder each."""

"""Content interest in click prediction: MIM's third stage and its relatives."""

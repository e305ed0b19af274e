"""A multimodal assistant that is taught to notice what is risky about image and text together, and to stay helpful."""

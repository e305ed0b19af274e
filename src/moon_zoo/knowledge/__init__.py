"""Knowledge from outside a conversation: where it is looked for, and how it is found, chosen and brought into words."""

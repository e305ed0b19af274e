"""Who says how good an answer is: a rule, a model by its logits, a server, or any callable."""

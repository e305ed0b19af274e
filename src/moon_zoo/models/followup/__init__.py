"""Follow-up questions: the next question after an answer, drawing on knowledge from outside of the conversation."""

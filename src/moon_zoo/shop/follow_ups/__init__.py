"""The shop's follow-ups: a question about a product, an answer, and what is asked next with knowledge from outside of both.

- `concepts`   what is known: tables
- `wordings`   how it is said
- `facts`      which product has which concept, by the seed; the encyclopedia as a store of knowledge
- `samples`    one follow-up by its number
- `plan`       how many there are

Products are things of brands, and which concept one has is drawn: so it cannot be guessed, only looked up. Facts of val and
test are never asked about in train, while their products and their concepts are.
"""

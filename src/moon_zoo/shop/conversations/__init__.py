"""The shop's conversations: a photo of a household thing, a question, what is risky about the two, and how to answer.

One question per part, imports from top to bottom:

- `things`       what may be seen: names, traits such as *sharp*, colours, what it is for
- `words`        how it is said: people, cleaning agents, goods, places; joining and articles
- `risks`        what harm there is: which words name it, of which category it is
- `asks`         what may be asked, and the risk matrix: trait x context to risk, with both answers
- `combinations` which thing meets which context, and in which split
- `samples`      one conversation by its number: photo, question, answers, observations, truth for the rules

The risk of the situation ``joint`` is a function of thing *and* context alone: every thing is also asked about in contexts
without risk, every context also about things without risk, so that neither photo nor text tells. Combinations of val and test
never occur in train, while each of their parts does. Contents are mild and everyday; the category *sexual content* has no
conversations here.
"""

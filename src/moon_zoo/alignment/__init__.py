"""DREAM's rounds on disk: answers sampled, judged, paired, learned from; every stage is a set of shards that names its parents.

Source: arXiv:2504.18053, section 3.3 (iterative RLAIF). How scores become pairs, which filters there are and when a round's
policy is kept are ours.
"""

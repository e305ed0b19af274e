"""Risks in what an assistant is asked: noticed, judged in its answers, counted.

Source: DREAM, "Disentangling Risks to Enhance Safety Alignment in Multimodal Large Language Models", arXiv:2504.18053.
Nothing here knows a model: whatever implements `moon_zoo.safety.assistant.Assistant` can be observed with, judged and judge.
"""

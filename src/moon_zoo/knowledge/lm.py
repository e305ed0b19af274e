"""A language model as reader of topics, ranker of pages, writer of knowledge, and as a source of knowledge by itself.

Source: arXiv:2504.05801, which does all of these with one model: topic and keywords in a structured answer; pages ranked by UPR
(Sachan et al. 2022, arXiv:2204.07496): the mean log-probability of the question's terms given the page; five related concepts
with reasons; definitions; and a continuation that ties a definition to the context. Answers that cannot be read are asked for
again a few times, with other draws, and then count as none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as F

from moon_zoo.data.words import content_words
from moon_zoo.knowledge.recognition import NUM_KEYWORDS, Topics
from moon_zoo.knowledge.source import Edge, Page
from moon_zoo.nn.writing.generation import Writing, write

if TYPE_CHECKING:
    from moon_zoo.nn.writing.tokenizer import WritingTokenizer

LONGEST: Final = 4000
"""Characters of a text that are put into a prompt."""
RETRY_TEMPERATURE: Final = 0.7

TOPICS: Final = (
    "Name the topic of this question and answer and three keywords, as JSON with the keys topic and keywords.\n"
    "Question: {question}\nAnswer: {answer}\nJSON:"
)
RELATED: Final = (
    'List {count} concepts related to "{concept}", one a line, each as "concept | how it is related".\nConcepts:\n'
)
DEFINE: Final = 'Define "{concept}" in one sentence.\nDefinition:'
CONTINUE: Final = (
    "Question: {question}\nAnswer: {answer}\nWhat is known of {concept}: {definition}\n"
    "Go on in two sentences that tie {concept} to the question.\nText:"
)
PASSAGE: Final = "Passage: {passage}\nPlease write a question based on this passage.\nQuestion:"


class LanguageModel:
    """A model of transformers that goes on from texts and weighs them.

    Args:
        lm: A model of `moon_zoo.nn.writing.lm.build_lm`.
        tokenizer: Its tokenizer.
        chat: Around every prompt, with the place ``{prompt}``; special tokens may be named in it.
        max_tokens: Longest prompt; of a longer one the end is kept.
    """

    def __init__(self, lm: Any, tokenizer: WritingTokenizer, *, chat: str = "{prompt}", max_tokens: int = 1024) -> None:
        before, place, after = chat.partition("{prompt}")
        if not place:
            raise ValueError(f"the template {chat!r} has no place {{prompt}}")
        self.lm = lm.eval()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self._around = (tokenizer.markup_ids(before), tokenizer.markup_ids(after))
        self._chat = chat

    @classmethod
    def from_pretrained(cls, name: str, *, chat: str = "{prompt}", **options: Any) -> LanguageModel:
        """By hub name or local folder.

        Args:
            name: Such as ``Qwen/Qwen2.5-3B-Instruct``.
            chat: See the class.
            options: Overrides of its configuration, ``dtype`` among them.

        Raises:
            CheckpointError: It cannot be loaded.
        """
        from moon_zoo.nn.writing.lm import build_lm
        from moon_zoo.nn.writing.tokenizer import WritingTokenizer

        return cls(build_lm(name, options=options), WritingTokenizer.from_pretrained(name), chat=chat)

    def fingerprint(self) -> str:
        """sha256 of weights, tokenizer and template."""
        digest = hashlib.sha256(json.dumps([self.tokenizer.state_dict(), self._chat], sort_keys=True).encode())
        for name, weight in sorted(self.lm.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def complete(self, prompt: str, *, max_new_tokens: int = 64, temperature: float = 0.0, seed: int = 0) -> str:
        """What follows a prompt."""
        ids = torch.tensor([self._prompt(prompt)], device=self._device)
        how = Writing(max_new_tokens, 1, temperature, no_repeat=0, seed=seed)
        found = write(
            self.lm,
            ids,
            torch.ones_like(ids, dtype=torch.bool),
            how,
            pad_id=self.tokenizer.pad_id,
            end_ids=[self.tokenizer.end_id],
        )
        return self.tokenizer.decode(found[0])

    @torch.no_grad()
    def log_probability(self, text: str, given: str) -> float:
        """Mean log-probability of a text's tokens after a prompt, in nats; minus infinity for an empty text."""
        wanted = self.tokenizer.ids(text)
        if not wanted:
            return float("-inf")
        prompt = self._prompt(given)
        labels = torch.tensor(wanted, device=self._device)
        if self.lm.config.is_encoder_decoder:
            start = self.lm.config.decoder_start_token_id
            before = torch.tensor([[start, *wanted[:-1]]], device=self._device)
            ids = torch.tensor([prompt], device=self._device)
            logits = self.lm(input_ids=ids, decoder_input_ids=before).logits[0]
        else:
            ids = torch.tensor([[*prompt, *wanted]], device=self._device)
            logits = self.lm(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        return -float(F.cross_entropy(logits.float(), labels))

    @property
    def _device(self) -> torch.device:
        return next(iter(self.lm.parameters())).device

    def _prompt(self, text: str) -> list[int]:
        before, after = self._around
        end = [self.tokenizer.end_id] if self.lm.config.is_encoder_decoder else []
        room = max(self.max_tokens - len(before) - len(after) - len(end) - len(self.tokenizer.opening), 1)
        whole = [*self.tokenizer.opening, *before, *self.tokenizer.ids(text)[-room:], *after, *end]
        return whole or [self.tokenizer.end_id]


class LmTopics:
    """Topics as a language model names them, in a structured answer.

    Args:
        model: The model.
        retries: How often an answer that cannot be read is asked for again.
        seed: Of the draws.
    """

    def __init__(self, model: LanguageModel, *, retries: int = 2, seed: int = 0) -> None:
        self.model = model
        self.retries = retries
        self.seed = seed

    def __call__(self, question: str, answer: str) -> Topics:
        """What they are about; nothing where no answer could be read."""
        prompt = TOPICS.format(question=question[:LONGEST], answer=answer[:LONGEST])
        for attempt in range(self.retries + 1):
            said = self.model.complete(prompt, temperature=RETRY_TEMPERATURE * (attempt > 0), seed=self.seed + attempt)
            read = read_topics(said)
            if read is not None:
                return read
        return Topics("")


def read_topics(text: str) -> Topics | None:
    """A structured answer; None where it has neither topic nor keywords."""
    found = re.search(r"\{.*?\}", text, re.DOTALL)
    try:
        record = json.loads(found.group(0)) if found is not None else None
    except ValueError:
        record = None
    if not isinstance(record, dict):
        return None
    topic, keywords = record.get("topic"), record.get("keywords")
    if isinstance(keywords, str):
        keywords = keywords.split(",")
    words = (
        [word.strip() for word in keywords or () if isinstance(word, str) and word.strip()]
        if isinstance(keywords, list)
        else []
    )
    name = topic.strip() if isinstance(topic, str) else ""
    if not name and not words:
        return None
    # as the paper says: without a topic, the first keyword
    return Topics(name or words[0], tuple(words if name else words[1:])[:NUM_KEYWORDS])


class UprRanker:
    """Pages by UPR: the mean log-probability of the question's terms given the page.

    Args:
        model: The model.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def __call__(self, question: str, answer: str, pages: Sequence[Page]) -> Sequence[float]:
        """A score in nats for each page; alike for all where the question has no terms."""
        terms = " ".join(content_words(question)) or question.strip()
        if not terms:
            return [0.0] * len(pages)
        passages = [f"{page.title}. {page.summary}"[:LONGEST] for page in pages]
        return [self.model.log_probability(terms, PASSAGE.format(passage=passage)) for passage in passages]


class LmWriter:
    """Continues definitions so that they have to do with what was said: the paper's "LM knowledge".

    Args:
        model: The model.
        max_new_tokens: Longest continuation.
    """

    def __init__(self, model: LanguageModel, *, max_new_tokens: int = 96) -> None:
        self.model = model
        self.max_new_tokens = max_new_tokens

    def continued(self, question: str, answer: str, concept: str, definition: str, *, seed: int = 0) -> str:
        """A few sentences; a last one that was broken off is left out, unless it is all there is."""
        prompt = CONTINUE.format(
            question=question[:LONGEST], answer=answer[:LONGEST], concept=concept, definition=definition[:LONGEST]
        )
        said = " ".join(self.model.complete(prompt, max_new_tokens=self.max_new_tokens, seed=seed).split())
        whole = re.match(r".*[.!?](?=\s|$)", said)
        return whole.group(0) if whole else said

    def fingerprint(self) -> str:
        """What tells this writer from another."""
        return self.model.fingerprint()


class LmSource:
    """A language model as a source of knowledge: every topic has a page, and what it says of it is asked once.

    Args:
        model: The model.
        name: Kept with what was found.
        retries: How often an answer that cannot be read is asked for again.
        seed: Of the draws.
    """

    def __init__(self, model: LanguageModel, *, name: str = "lm", retries: int = 2, seed: int = 0) -> None:
        self.model = model
        self.name = name
        self.retries = retries
        self.seed = seed
        self._definitions: dict[str, str] = {}
        self._related: dict[tuple[str, int], list[Edge]] = {}

    def search(self, topic: str, keywords: Sequence[str]) -> list[Page]:
        """One page of that title; none for an empty one."""
        title = " ".join(topic.split())
        return [Page(title.lower(), title, self.describe(title.lower()))] if title else []

    def neighbours(self, page: Page, k: int) -> list[Edge]:
        """Concepts that the model calls related, the first ones closest; none where its answers cannot be read."""
        if k < 1:
            return []
        if (page.key, k) not in self._related:
            prompt, found = RELATED.format(count=k, concept=page.title), list[Edge]()
            for attempt in range(self.retries + 1):
                temperature = RETRY_TEMPERATURE * (attempt > 0)
                said = self.model.complete(
                    prompt, max_new_tokens=24 * k, temperature=temperature, seed=self.seed + attempt
                )
                found = read_related(said, page.title, k)
                if found:
                    break
            self._related[page.key, k] = found
        return self._related[page.key, k]

    def describe(self, page_key: str) -> str:
        """A definition in a sentence."""
        if page_key not in self._definitions:
            said = self.model.complete(DEFINE.format(concept=page_key), max_new_tokens=48, seed=self.seed)
            self._definitions[page_key] = said.strip().partition("\n")[0]
        return self._definitions[page_key]

    def fingerprint(self) -> str:
        """Of model and seed."""
        return hashlib.sha256(f"{self.model.fingerprint()} {self.seed}".encode()).hexdigest()


def read_related(text: str, concept: str, k: int) -> list[Edge]:
    """Lines ``concept | reason``, perhaps numbered, as edges of falling weight; the concept itself and repetitions left out."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, bar, reason = re.sub(r"^\s*(?:\d+[.)]|[-*•])\s*", "", line).partition("|")
        key = " ".join(name.strip(" .\"'").lower().split())
        if bar and key and key != concept.lower() and any(sign.isalnum() for sign in key):
            found.setdefault(key, reason.strip())
    names = list(found)[:k]
    return [Edge(name, 1.0 - place / (2 * max(len(names), 1)), found[name]) for place, name in enumerate(names)]

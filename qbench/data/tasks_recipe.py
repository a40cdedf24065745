"""Recipe of the task `persuasion_continuation`: which half sentence goes on from here?

    python tasks_recipe.py        # writes tasks/persuasion_continuation.jsonl, the same bytes each time

Each item is a passage of Persuasion (`persuasion.txt`, which the embedded model has not seen) that breaks off
in the middle of a sentence, and four ends of sentences from the same book, of which one is its own. The
others are drawn with a fixed seed from ends of nearly the same length that begin with a small letter too, so
that neither length nor capitals give the answer away. Chance is 25 %.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ITEMS, CHOICES, SEED = 400, 4, 0
MIN_CONTEXT_WORDS, MAX_CONTEXT_WORDS = 20, 60
END_WORDS = (5, 12)


def halves(paragraph: str) -> list[tuple[str, str]]:
    """(passage up to the middle of a sentence, rest of that sentence), for every sentence but the first."""
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph)
    found = []
    for i in range(1, len(sentences)):
        words = sentences[i].split()
        middle = len(words) // 2
        context = " ".join([*sentences[:i], *words[:middle]]).split()[-MAX_CONTEXT_WORDS:]
        end = words[middle:]
        plain = re.fullmatch(r"[a-z][A-Za-z ,;’']*[.!?]", " ".join(end))
        if plain and END_WORDS[0] <= len(end) <= END_WORDS[1] and len(context) >= MIN_CONTEXT_WORDS:
            found.append((" ".join(context), " ".join(end)))
    return found


def items(text: str) -> list[dict[str, object]]:
    """The questions, in the book's order."""
    draw = random.Random(SEED)
    known = [pair for paragraph in text.split("\n\n") for pair in halves(paragraph)]
    chosen = sorted(draw.sample(range(len(known)), ITEMS))
    made: list[dict[str, object]] = []
    for index in chosen:
        context, end = known[index]
        length = len(end.split())
        ends = {other for _, other in known if other != end and other not in context}
        alike = sorted(other for other in ends if abs(len(other.split()) - length) <= 1)
        choices = [end, *draw.sample(alike, CHOICES - 1)]
        draw.shuffle(choices)
        made.append({"context": context, "choices": choices, "answer": choices.index(end)})
    return made


def main() -> None:
    text = (HERE / "persuasion.txt").read_text(encoding="utf-8")
    lines = [json.dumps(item, ensure_ascii=False) for item in items(text)]
    (HERE / "tasks" / "persuasion_continuation.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Rules about the parts of a lab: which there are, in which order, how long."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from labrunner import source
from labrunner.draft import (
    Draft,
    Section,
    code_lines,
    python_of,
    spoken_words,
    taught_lines,
    words,
)

ORDER = (
    "What you will build",
    "Before you start",
    "Parameters",
    "Setup",
    "steps",
    "If it does not work",
    "Exercise",
    "Recap",
    "Clean up",
)
CELLS = (25, 45)
CODE_LINES = (50, 130)
WORDS_PER_LINE = (8, 20)
STEPS = (4, 7)
LONGEST_CELL = 20
MOST_PARAMETERS = 8
SECRET_NAME = re.compile(r"passw|secret|token|api_?key", re.I)


def title_is_the_listed_one(draft: Draft) -> Iterator[str]:
    """The first heading is the title in labs.toml."""
    first = draft.cells[0].text.splitlines()[0] if draft.cells else ""
    if first != f"# {draft.lab.heading}":
        yield f"expected the first line `# {draft.lab.heading}`, found `{first}`."


def purpose_is_one_sentence(draft: Draft) -> Iterator[str]:
    """Below the title stands one sentence of purpose."""
    paragraphs = draft.written[0].text.split("\n\n") if draft.written else []
    purpose = paragraphs[1].strip() if len(paragraphs) > 1 else ""
    if not purpose or len(re.findall(r"[.!?](?=\s|$)", purpose)) != 1:
        yield f"expected one sentence of purpose below the title, found {purpose[:60]!r}."


def sections_are_in_order(draft: Draft) -> Iterator[str]:
    """All sections are there, once, in the order of the house."""
    if not draft.is_lab:
        return
    found = ["steps" if re.match(r"\d+\. ", one.title) else one.title for one in draft.sections]
    merged = [
        name for at, name in enumerate(found) if at == 0 or (name, found[at - 1]) != ("steps",) * 2
    ]
    if merged != list(ORDER):
        yield f"expected the sections {', '.join(ORDER)}; found {', '.join(merged)}."


def steps_are_numbered(draft: Draft) -> Iterator[str]:
    """Four to seven steps, numbered from 1 without a gap."""
    if not draft.is_lab:
        return
    numbers = [int(step.title.partition(".")[0]) for step in draft.steps()]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"expected steps numbered from 1, found {numbers}."
    least, most = draft.limit("steps", STEPS)
    if not least <= len(numbers) <= most:
        yield f"expected {least} to {most} steps, found {len(numbers)}."


def steps_begin_with_why(draft: Draft) -> Iterator[str]:
    """A step says why before it shows code."""
    for step in draft.steps():
        if len(words(step.cells[0].text)) < 15:
            yield f"`{step.title}` says too little before its code; one to three sentences of why."


def steps_end_in_a_checkpoint(draft: Draft) -> Iterator[str]:
    """Each step has a checkpoint."""
    if not draft.is_lab:
        return
    for step in draft.steps():
        if not any(
            cell.kind == "code" and re.search(r"\bcheck\(", cell.text) for cell in step.cells
        ):
            yield f"`{step.title}` has no checkpoint; call check(…) after its code."


def overview_has_bullets(draft: Draft) -> Iterator[str]:
    """The overview and the recap are two to four bullets."""
    for name, least in (("What you will build", 2), ("Recap", 2)):
        section = draft.section(name)
        if section is None:
            continue
        bullets = re.findall(r"^[-*] ", _text(section), re.M)
        if not least <= len(bullets) <= 4:
            yield f"`{name}` has {len(bullets)} bullets; two to four say it."


def prerequisites_are_a_table(draft: Draft) -> Iterator[str]:
    """Before you start: a table Need, Why, Check."""
    section = draft.section("Before you start")
    if section and not re.search(r"^\| *Need *\| *Why *\| *Check *\|", _text(section), re.M):
        yield "`Before you start` needs a table with the head `| Need | Why | Check |`."


def parameters_are_one_cell(draft: Draft) -> Iterator[str]:
    """One cell is tagged parameters: literals with a type and a help, at most eight, no secret."""
    tagged = [cell for cell in draft.cells if "parameters" in cell.tags]
    if draft.is_lab and len(tagged) != 1:
        yield f"expected one cell tagged `parameters`, found {len(tagged)}."
    for cell in tagged:
        for line in code_lines(cell.text):
            if not re.match(r"^\w+: \w[\w\[\], |]* = .+  # .+", line):
                yield f"expected `name: type = value  # help` in the parameters, found `{line}`."
    found = source.parameters(list(draft.cells))
    if len(found) > MOST_PARAMETERS:
        yield f"{len(found)} parameters; {MOST_PARAMETERS} are the most a learner reads."
    for parameter in found:
        if SECRET_NAME.search(parameter.name):
            yield f"`{parameter.name}` looks like a secret; ask for it in a widget or read a file."


def recap_has_three_questions(draft: Draft) -> Iterator[str]:
    """The recap ends in three questions."""
    section = draft.section("Recap")
    if section is None:
        return
    text = "\n".join(cell.text for cell in section.cells)
    asked = text.count("?")
    if asked < 3:
        yield f"the recap asks {asked} questions; three make a lab stay."


def right_answers_are_spread(draft: Draft) -> Iterator[str]:
    """No letter is the right answer of more than a third of a lab's questions."""
    rights = [
        word.value.value
        for cell in draft.code
        for node in ast.walk(python_of(cell.text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "quiz"
        for word in node.keywords
        if word.arg == "right" and isinstance(word.value, ast.Constant)
    ]
    for right, times in Counter(rights).items():
        if times > -(-len(rights) // 3):
            yield (
                f"{times} of {len(rights)} questions have the right answer at right={right!r}; "
                "reorder the answers so that each letter is right equally often."
            )


def troubles_are_two_or_three(draft: Draft) -> Iterator[str]:
    """If it does not work: two or three real failures, as a table or bullets."""
    section = draft.section("If it does not work")
    if section is None:
        return
    rows = re.findall(r"^(?:[-*] |\| *+(?!Symptom|-)[^|]+\|)", _text(section), re.M)
    if not 2 <= len(rows) <= 4:
        yield f"`If it does not work` names {len(rows)} failures; two or three real ones."


def cells_are_as_many_as_fit(draft: Draft) -> Iterator[str]:
    """A lab has 25 to 45 cells."""
    least, most = draft.limit("cells", CELLS)
    if draft.is_lab and not least <= len(draft.cells) <= most:
        yield f"{len(draft.cells)} cells; a lab has {least} to {most}."


def code_is_as_long_as_fits(draft: Draft) -> Iterator[str]:
    """A lab has 50 to 130 lines of code."""
    lines = _taught(draft)
    least, most = draft.limit("code_lines", CODE_LINES)
    if draft.is_lab and not least <= lines <= most:
        yield f"{lines} lines of code; a lab has {least} to {most}."


def prose_carries_the_code(draft: Draft) -> Iterator[str]:
    """A lab says 8 to 20 words per line of code, in its text, checkpoints and questions."""
    said = sum(len(words(cell.text)) for cell in draft.prose)
    said += sum(len(spoken_words(cell.text)) for cell in draft.code)
    ratio = said / max(1, _taught(draft))
    least, most = draft.limit("words_per_line", WORDS_PER_LINE)
    if draft.is_lab and not least <= ratio <= most:
        yield f"{ratio:.1f} words of prose per line of code; {least} to {most} read well."


def _taught(draft: Draft) -> int:
    return sum(len(taught_lines(cell.text)) for cell in draft.code)


def cells_are_short(draft: Draft) -> Iterator[str]:
    """No cell has more than twenty lines."""
    for cell in draft.code:
        if (lines := len(cell.text.splitlines())) > LONGEST_CELL:
            first = cell.text.splitlines()[0]
            yield f"a cell has {lines} lines (it begins `{first[:50]}`); {LONGEST_CELL} at most."


def _text(section: Section) -> str:
    return "\n".join(cell.text for cell in section.cells if cell.kind == "markdown")


RULES = (
    title_is_the_listed_one,
    purpose_is_one_sentence,
    sections_are_in_order,
    steps_are_numbered,
    steps_begin_with_why,
    steps_end_in_a_checkpoint,
    overview_has_bullets,
    prerequisites_are_a_table,
    parameters_are_one_cell,
    recap_has_three_questions,
    right_answers_are_spread,
    troubles_are_two_or_three,
    cells_are_as_many_as_fit,
    code_is_as_long_as_fits,
    prose_carries_the_code,
    cells_are_short,
)

"""Print what the rules of the house find: `python -m tests.repo`."""

from tests.repo.rules import RULES
from tests.repo.tree import Tree

tree = Tree.of_checkout()
for rule in RULES:
    for finding in rule(tree):
        print(f"{rule.__name__}: {finding}")

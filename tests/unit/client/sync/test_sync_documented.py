"""docs/sync.md shows the tables that the planner uses."""

from client.sync import rules
from client.sync.rules import KNOWN, MEETINGS, Rule
from tests.support.system import ROOT

TEXT = (ROOT / "docs" / "sync.md").read_text()


def test_every_pair_has_its_row() -> None:
    rows = [f"| {here} | {there} | `{rule.name}` | {rule.why} |" for (here, there), rule in KNOWN.items()]
    assert "\n".join(rows) in TEXT


def test_every_meeting_has_its_row() -> None:
    rows = [f"| {meeting} | `{rule.name}` | {rule.why} |" for meeting, rule in MEETINGS.items()]
    assert "\n".join(rows) in TEXT


def test_every_other_rule_is_named() -> None:
    tabled = {rule.name for rule in (*KNOWN.values(), *MEETINGS.values())}
    others = [rule for rule in vars(rules).values() if isinstance(rule, Rule) and rule.name not in tabled]
    assert len(others) > 8
    for rule in others:
        assert f"| `{rule.name}` | {rule.why} |" in TEXT

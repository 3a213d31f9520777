"""Documents: links and anchors lead somewhere, lines are short, every folder is described."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from clipserve_gateway.cli import LocalTritonSettings, Settings

ROOT = Path(__file__).parents[2]
FOLDERS = ("bench", "client", "demo", "deploy", "docs", "exporter", "faults", "gateway", "tests", ".github")
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")),
]
PROSE = [path for path in DOCUMENTS if path.parent in (ROOT, ROOT / "docs", ROOT / "deploy")]
MAX_WIDTH = 100
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.DOTALL | re.MULTILINE)


def links(text: str) -> list[str]:
    """Targets of links and images that are in this repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(text))
    return [target for target in targets if "://" not in target and not target.startswith("mailto:")]


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", without_code(path.read_text()), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        others = len([anchor for anchor in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", anchor)])
        found.add(f"{slug}-{others}" if others else slug)
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(path):
    broken = []
    for link in links(path.read_text()):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_links_are_found():
    assert {name_of(path) for path in DOCUMENTS} >= {"README.md", "docs/security.md", "exporter/README.md"}
    assert sum(len(links(path.read_text())) for path in DOCUMENTS) > 100


@pytest.mark.parametrize("path", PROSE, ids=name_of)
def test_lines_are_short(path):
    """But for tables and commands, which cannot be cut."""
    lines = without_code(path.read_text()).splitlines()
    assert [line for line in lines if len(line) > MAX_WIDTH and not line.startswith(("|", "    "))] == []


@pytest.mark.parametrize(
    "package", ["gateway/clipserve_gateway", "client/clipserve"], ids=["gateway", "client"]
)
def test_every_folder_is_described(package):
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")} - {"data", "v1"}
    assert folders
    described = set(re.findall(rf"\.\./{package}/(\w+)\)", ARCHITECTURE))
    assert folders <= described


def test_every_module_that_is_drawn_exists():
    drawings = re.findall(r"```mermaid\n(.*?)```", ARCHITECTURE, re.DOTALL)
    named = {name for drawing in drawings for name in re.findall(r"\b[a-z]+(?:/[a-z_]+)+\b", drawing)}
    assert len(named) > 20
    package = ROOT / "gateway" / "clipserve_gateway"
    places = {name: package / name for name in named}
    missing = {
        name for name, place in places.items() if not place.is_dir() and not place.with_suffix(".py").exists()
    }
    assert missing == set()


FIND_IT = re.findall(r"^\| (Where .*?\?) \| (.*) \|$", ARCHITECTURE, re.MULTILINE)


def code_of(place: Path) -> str:
    """The text of a module, or of a folder's modules."""
    return "".join(path.read_text() for path in (place.glob("*.py") if place.is_dir() else [place]))


@pytest.mark.parametrize(
    "answer", [answer for _, answer in FIND_IT], ids=[question for question, _ in FIND_IT]
)
def test_what_answers_a_question_is_where_the_answer_says(answer):
    code = "".join(code_of(ROOT / "docs" / link) for link in links(answer))
    names = re.findall(r"`([A-Za-z_.]+)`", re.sub(r"\[.*?\]\(.*?\)", "", answer))
    for part in (part for name in names for part in name.split(".")):
        assert re.search(rf"\b{part}\b", code), part


@pytest.mark.parametrize(
    ("contract", "package"),
    [("gateway-layers", "gateway/clipserve_gateway"), ("client-layers", "client/clipserve")],
)
def test_the_layers_are_those_of_the_import_rules(contract, package):
    rules = (ROOT / ".importlinter").read_text()
    (section,) = re.findall(rf":{contract}\]\n((?:[^\[\n].*\n)+)", rules)
    lines = section.partition("layers =\n")[2].splitlines()
    rows = re.findall(rf"^\| (\[`\w+/?`\]\(\.\./{package}/.*?) \| ", ARCHITECTURE, re.MULTILINE)
    described = [set(re.findall(r"`(\w+)/?`", row)) for row in rows]
    assert described == [set(line.replace("|", " ").split()) for line in lines]


@pytest.mark.parametrize("name", ["tuning", "reliability", "search", "performance", "install"])
def test_every_setting_that_is_named_exists(name):
    text = (ROOT / "docs" / f"{name}.md").read_text()
    settings = {field for kind in (Settings, LocalTritonSettings) for field in kind.model_fields}
    named = {word.lower() for word in re.findall(r"CLIPSERVE_([A-Z_]+[A-Z])\b(?!_?…)", text)}
    assert named <= settings
    tables = re.findall(r"^\| setting \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = {word for table in tables for word in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)}
    listed = {word for row in rows for word in re.findall(r"`([a-z_]+)`", row)}
    assert listed <= settings
    assert name != "tuning" or len(listed) > 15

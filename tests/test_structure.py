"""The README's map of the code is true: every file is on it, and imports only from those below it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "deepspeech_sparse"


def entries() -> list[str]:
    """Of the map of the package, from top to bottom; lines that go on with an entry joined to it."""
    text = (ROOT / "README.md").read_text()
    listing = text.split("    deepspeech_sparse/\n")[1].split("\n    data/")[0]
    return re.sub(r"\n {7,}", " ", listing).splitlines()


def floors() -> dict[str, int]:
    """Top-level names of the package, as the map lists them, with their place: larger is lower."""
    listed = [re.match(r" {6}((?:\w+(?:\.py|/) ?)+)", entry)[1].split() for entry in entries()]
    return {name.strip("/").removesuffix(".py"): place for place, names in enumerate(listed) for name in names}


def imports(path: Path) -> set[str]:
    """Top-level names of the package that a file imports."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = parts[: len(parts) - node.level]
            full = [*base, *(node.module.split(".") if node.module else [])]
            found |= {full[0]} if full else {alias.name for alias in node.names}
    return found


def test_every_file_is_on_the_map_and_imports_only_from_below():
    order = floors()
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE]
    assert len(files) > 30
    for path in files:
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        assert own in order, f"{own} is missing from the README's map of the code"
        for other in imports(path) - {own, "__version__", "_kernels"}:  # the last is native, below all
            assert order[other] >= order[own], f"{path.relative_to(ROOT)} imports {other}, which stands above it"


def test_the_map_names_nothing_that_does_not_exist():
    assert set(floors()) <= {path.stem for path in PACKAGE.iterdir()}


def test_files_that_the_map_names_are_in_their_folder():
    folders = [match for entry in entries() if (match := re.match(r" {6}(\w+)/ +(.*)", entry))]
    assert len(folders) > 15
    for folder, text in (match.groups() for match in folders):
        named = re.findall(r"\w+\.py", text)
        assert all((PACKAGE / folder / name).is_file() for name in named), f"{folder}: {named}"


def includes(path: Path) -> list[str]:
    """What a file of native/ includes: "layouts/cell.h", "<cstdint>"."""
    return [found.strip('"') for found in re.findall(r'#include ("[^"]+"|<[^>]+>)', path.read_text())]


def test_native_rooms_are_on_the_map_and_include_only_from_below():
    text = (ROOT / "README.md").read_text().split("\n    native/")[1].split("\n    recipes/")[0]
    rooms = re.findall(r"^ {6}(\w+)/", text, re.MULTILINE)
    assert sorted(rooms) == sorted(path.name for path in (ROOT / "native").iterdir() if path.is_dir())
    for path in (ROOT / "native").glob("*/*"):
        for other in (name.split("/")[0] for name in includes(path) if "/" in name and not name.startswith("<")):
            assert rooms.index(other) >= rooms.index(path.parent.name), f"{path.relative_to(ROOT)} includes {other}/"


def test_what_is_compiled_once_per_instruction_set_has_no_standard_templates():
    """One compiled for AVX-512 could be the copy that the linker keeps for all."""
    files = [path for room in ("kernels", "layouts") for path in (ROOT / "native" / room).iterdir()]
    assert len(files) > 15
    for path in files:
        outside = {
            name for name in includes(path) if name.startswith("<") or not name.startswith(("kernels/", "layouts/"))
        }
        assert outside <= {"<cstdint>", "<cstddef>", "<immintrin.h>"}, f"{path.relative_to(ROOT)}: {outside}"

#!/usr/bin/env python3
"""Writes docs/conformance.md: every item C1..C74 and D1..D78 with the tests that name it, or "not yet".

A test carries the id in its name (`D19_udp_ping_is_answered...` in C, `TestD33_...` or t.Run("D33 ...") in Go). With
--check the file is compared instead of written, so that it cannot fall behind the tests.

SPDX-License-Identifier: MIT
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
C_TEST = re.compile(r"^static void ([A-Za-z0-9_]+)\(void \*\*", re.M)
GO_TEST = re.compile(r"^func (Test[A-Za-z0-9_]+)\(t \*testing\.T\)", re.M)
GO_SUB = re.compile(r"""\b(?:t|tt|st)\.Run\(\s*["`]([^"`]+)["`]""")
ID = re.compile(r"(?<![A-Za-z0-9])(?:Test)?([CD])(\d{1,2})(?![0-9A-Za-z])")
COUNT = {"C": 74, "D": 78}


def ids(name: str) -> list[str]:
    found = []
    for part in re.split(r"[_ ,/+]", name.removeprefix("Test")):
        m = re.fullmatch(r"([CD])([1-9]\d?)", part)
        if m and int(m.group(2)) <= COUNT[m.group(1)]:
            found.append(part)
    return found


def collect() -> dict[str, list[str]]:
    shown: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*")):
        if path.suffix not in (".c", ".go") or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        where = path.relative_to(ROOT)
        if path.suffix == ".c":
            # Only functions that a group lists are run: cmocka_unit_test(name), or a file's own short form of it.
            names = [n for n in C_TEST.findall(text) if re.search(rf"(cmocka_unit_test[a-z_]*|\bT[A-Z_]*)\(\s*{n}\b", text)]
        else:
            names = GO_TEST.findall(text) + GO_SUB.findall(text)
        for name in names:
            for i in ids(name):
                shown.setdefault(i, []).append(f"`{where}`: {name}")
    return shown


def render() -> str:
    shown = collect()
    total = sum(COUNT.values())
    out = ["# Conformance", "",
           "Every item of the two protocol checklists with the tests that show it. Made by `tools/conformance.py` from the",
           "names of the tests; do not edit.", "",
           f"{len(shown)} of {total} items are shown by a test.", "", "| item | shown by |", "|---|---|"]
    for letter, count in COUNT.items():
        for number in range(1, count + 1):
            key = f"{letter}{number}"
            out.append(f"| {key} | {'<br>'.join(shown.get(key, ['not yet']))} |")
    return "\n".join(out) + "\n"


def main() -> int:
    target = ROOT / "docs" / "conformance.md"
    text = render()
    if "--check" in sys.argv:
        if not target.exists() or target.read_text() != text:
            print("conformance: docs/conformance.md is behind the tests; run tools/conformance.py")
            return 1
        print("conformance: up to date;", next(line for line in text.splitlines() if "items are shown" in line))
        return 0
    target.write_text(text)
    print(next(line for line in text.splitlines() if "items are shown" in line))
    return 0


if __name__ == "__main__":
    sys.exit(main())

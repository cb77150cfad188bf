#!/usr/bin/env python3
"""Compiles every C program of README.md and the man page's neighbours, and checks that the files README links to exist.

Usage: check_readme.py [CC]

SPDX-License-Identifier: MIT
"""
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> int:
    cc = sys.argv[1] if len(sys.argv) > 1 else "cc"
    bad = 0
    programs = 0
    for doc in [ROOT / "README.md", *sorted(ROOT.glob("examples/*/README.md")), *sorted(ROOT.glob("docs/*.md")), ROOT / "ARCHITECTURE.md"]:
        text = doc.read_text()
        for number, block in enumerate(re.findall(r"^```c\n(.*?)^```", text, re.M | re.S), 1):
            if "int main" not in block:
                continue
            programs += 1
            with tempfile.NamedTemporaryFile(suffix=".c", mode="w") as f:
                f.write(block)
                f.flush()
                run = subprocess.run([cc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT}/include", f.name],
                                     capture_output=True, text=True)
            if run.returncode:
                print(f"{doc.relative_to(ROOT)}: program {number} does not compile:\n{run.stderr}")
                bad += 1
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if not re.match(r"[a-z]+:", link) and not (doc.parent / link).exists():
                print(f"{doc.relative_to(ROOT)}: link to {link}, which does not exist")
                bad += 1
    print(f"check_readme: {bad} problems" if bad else f"check_readme: ok, {programs} programs compile")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

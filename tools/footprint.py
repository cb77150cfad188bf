#!/usr/bin/env python3
"""Measures memory and size on this machine and writes docs/footprint.md, and the short table of README.md between
`<!-- footprint:begin -->` and `<!-- footprint:end -->`.

Usage: footprint.py [--build DIR] [--pid PID --label TEXT]    measure and write
       footprint.py [--build DIR] --check                     measure and compare: a figure off by more than 2 % fails

The engine is built on its own with gcc -Os (into build-footprint/); tools/sizes.c prints what it takes in memory. The
program is the one in DIR (default build), when it has been built. With --pid the peak resident memory of a running node is
noted under TEXT; those rows stay until they are measured again and are not compared.

SPDX-License-Identifier: MIT
"""
import argparse
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOC = ROOT / "docs" / "footprint.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- footprint:begin -->", "<!-- footprint:end -->"
OWN_BUILD = ROOT / "build-footprint"
TOP = 20
TOLERANCE = 0.02
ARENA, TENANTS, STRUCTS, CODE = "Engine memory", "Engine memory by tenant", "Structs", "Code by module"
FUNCTIONS, PROGRAM, RESIDENT = "Largest functions", "Program", "Peak resident memory"

# A table is {row: {column: bytes}}; the tables of a document are {heading: table}.
Table = dict[str, dict[str, int]]


def run(*cmd: str) -> str:
    done = subprocess.run(cmd, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"footprint: {' '.join(cmd)} failed\n{done.stdout}{done.stderr}")
    return done.stdout


def build() -> list[pathlib.Path]:
    run("cmake", "-G", "Ninja", "-B", str(OWN_BUILD), "-S", str(ROOT), "-DCMAKE_C_COMPILER=gcc", "-DCMAKE_BUILD_TYPE=MinSizeRel",
        "-DML_TESTS=OFF", "-DML_PORT_POSIX=OFF")
    run("cmake", "--build", str(OWN_BUILD), "-j", os.environ.get("JOBS", "2"), "--target", "ml_sizes")
    return sorted(OWN_BUILD.glob("libml_*.a"))


def made_by() -> str:
    return f"gcc {run('gcc', '-dumpfullversion').strip()}, {platform.machine()}"


def measure_memory() -> dict[str, Table]:
    tables: dict[str, Table] = {ARENA: {}, TENANTS: {}, STRUCTS: {}}
    for line in run(str(OWN_BUILD / "ml_sizes")).splitlines():
        what, name, size = line.split("\t")
        if what == "arena":
            tables[ARENA][f"arena, max_peers = {name}"] = {"bytes": int(size)}
        elif what == "each":
            tables[ARENA][f"one more {name}"] = {"bytes": int(size)}
        elif what == "struct":
            tables[STRUCTS][f"`{name}`"] = {"bytes": int(size)}
        else:
            tables[TENANTS].setdefault(name, {})[f"{what.split()[1]} peers"] = int(size)
    return tables


def measure_code(libs: list[pathlib.Path]) -> Table:
    """Sections by module. Tables for unwinding are left out: a microcontroller has none."""
    table: Table = {}
    for lib in libs:
        code = constants = 0
        for line in run("size", "-A", str(lib)).splitlines():
            words = line.split()
            if len(words) < 2 or not words[1].isdigit():
                continue
            if words[0].startswith(".text"):
                code += int(words[1])
            elif words[0].startswith((".rodata", ".data.rel.ro")):
                constants += int(words[1])
        table[lib.stem.removeprefix("libml_")] = {"code": code, "constants": constants, "sum": code + constants}
    table["all modules"] = {c: sum(row[c] for row in table.values()) for c in ("code", "constants", "sum")}
    return table


def measure_functions(libs: list[pathlib.Path]) -> Table:
    """All functions, the largest first."""
    sizes: dict[str, int] = {}
    for lib in libs:
        for line in run("nm", "-S", "--defined-only", str(lib)).splitlines():
            words = line.split()
            if len(words) == 4 and words[2] in "tT":
                # What the compiler makes of a name (.part.0, .isra.0) counts for the name.
                key = f"{lib.stem.removeprefix('libml_')}: `{words[3].split('.')[0]}`"
                sizes[key] = max(sizes.get(key, 0), int(words[1], 16))
    return {k: {"bytes": v} for k, v in sorted(sizes.items(), key=lambda kv: (-kv[1], kv[0]))}


def measure_program(build_dir: pathlib.Path) -> Table:
    program = build_dir / "ports" / "posix" / "microlink"
    if not program.exists():
        return {}
    with tempfile.TemporaryDirectory() as tmp:
        run("strip", "-o", f"{tmp}/microlink", str(program))
        return {"`microlink`, stripped": {"bytes": os.stat(f"{tmp}/microlink").st_size}}


def measure_resident(pid: int, label: str) -> Table:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {label: {"bytes": int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.M).group(1)) * 1024}}


def render_table(table: Table) -> list[str]:
    columns = list(next(iter(table.values())))
    out = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    return out + ["| " + " | ".join([row, *(f"{cells[c]:,}" for c in columns)]) + " |" for row, cells in table.items()]


def parse_tables(text: str) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    heading, columns = "", []
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| |"):
            columns = cells[1:]
        elif line.startswith("| ") and columns:
            tables.setdefault(heading, {})[cells[0]] = {c: int(v.replace(",", "")) for c, v in zip(columns, cells[1:])}
        else:
            columns = columns if line.startswith("|---") else []
    return tables


NOTES = {
    ARENA: "What `ml_mem_needed()` asks for with everything else at its default, and what one more costs. There is no other\n"
           "memory: the engine has no heap and no static data (`tools/check_static.py`).",
    TENANTS: "Tenants in the order of the arena; gaps of alignment are not shown.",
    STRUCTS: "On this machine; pointers have half the size on a 32-bit one.",
    CODE: "`gcc -Os`, before linking, without tables for unwinding. Libraries of others are not in it.",
    FUNCTIONS: f"The {TOP} largest with the same options.",
    PROGRAM: "File size; shared libraries are not in it.",
    RESIDENT: "`VmHWM` of a running node, measured with `--pid`.",
}


def render(tables: dict[str, Table], made: str) -> str:
    out = ["# Footprint", "", f"Made by `tools/footprint.py` (`make footprint`) with {made}; do not edit. Bytes.", ""]
    for heading, table in tables.items():
        if table:
            out += [f"## {heading}", "", NOTES[heading], "", *render_table(table), ""]
    return "\n".join(out)


def short_table(tables: dict[str, Table]) -> Table:
    rows = {f"engine memory, {row.removeprefix('arena, ')}" if row.startswith("arena") else row: cells
            for row, cells in tables[ARENA].items()}
    rows["code and constants of the engine, `-Os`"] = {"bytes": tables[CODE]["all modules"]["sum"]}
    rows.update(tables.get(PROGRAM, {}))
    rows.update({f"peak resident memory, {label}": cells for label, cells in tables.get(RESIDENT, {}).items()})
    return rows


def readme_parts() -> list[str] | None:
    text = README.read_text() if README.exists() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        return None
    before, rest = text.split(BEGIN)
    middle, after = rest.split(END)
    return [before, middle, after]


def differs(old: int, new: int) -> bool:
    return abs(new - old) > TOLERANCE * old


def compare(where: str, old: Table, new: Table) -> list[str]:
    bad = []
    for row in old.keys() | new.keys():
        for column in old.get(row, {}).keys() | new.get(row, {}).keys():
            was, now = old.get(row, {}).get(column), new.get(row, {}).get(column)
            if was is None or now is None or differs(was, now):
                bad.append(f"{where}: {row}, {column}: written {was}, measured {now}")
    return sorted(bad)


def compare_functions(old: Table, new: Table) -> list[str]:
    """The list is cut at TOP, so near its end names come and go with a byte: only what is off by more counts."""
    bad = []
    smallest = min(cells["bytes"] for cells in old.values()) if old else 0
    for name, cells in old.items():
        now = new.get(name, {}).get("bytes", 0)
        if differs(cells["bytes"], now):
            bad.append(f"{FUNCTIONS}: {name}: written {cells['bytes']}, measured {now}")
    for name, cells in new.items():
        if name not in old and differs(smallest, cells["bytes"]) and cells["bytes"] > smallest:
            bad.append(f"{FUNCTIONS}: {name}: not written, measured {cells['bytes']}")
    return bad


def check(tables: dict[str, Table], functions: Table, made: str) -> int:
    if not DOC.exists():
        print("footprint: docs/footprint.md is missing; run make footprint")
        return 1
    text = DOC.read_text()
    old = parse_tables(text)
    was_made = re.search(r"with (gcc [^;]+);", text)
    bad = []
    headings = [ARENA, TENANTS, STRUCTS, CODE, FUNCTIONS, PROGRAM]
    parts = readme_parts()
    if was_made and was_made.group(1) != made:
        # Another compiler's code has other sizes, which says nothing of the age of the document; memory is the same.
        print(f"footprint: made with {was_made.group(1)}, this is {made}: code sizes are not compared")
        headings = headings[:3]
        parts = None
    for heading in headings:
        if heading == FUNCTIONS:
            bad += compare_functions(old.get(heading, {}), functions)
        else:
            bad += compare(heading, old.get(heading, {}), tables.get(heading, {}))
    if parts:
        written = parse_tables(parts[1]).get("", {})
        tables = {**tables, RESIDENT: old.get(RESIDENT, {})}
        bad += compare("README.md", written, short_table(tables))
    for line in bad[:TOP]:
        print(f"footprint: {line}")
    if bad:
        print(f"footprint: {len(bad)} figures are behind the code; run make footprint")
    return 1 if bad else 0


def closing_line(tables: dict[str, Table]) -> str:
    arena = tables[ARENA]
    line = (f"footprint: engine {arena['arena, max_peers = 16']['bytes']:,} B for 16 peers, "
            f"{arena['one more peer at rest']['bytes']} B per peer at rest, {arena['one more live session']['bytes']:,} B per "
            f"live session, code {tables[CODE]['all modules']['sum']:,} B")
    for cells in tables[PROGRAM].values():
        line += f", program {cells['bytes']:,} B"
    for label, cells in tables.get(RESIDENT, {}).items():
        line += f", resident {cells['bytes']:,} B ({label})"
    return line


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    p.add_argument("--check", action="store_true")
    p.add_argument("--pid", type=int)
    p.add_argument("--label", default="node")
    a = p.parse_args()
    libs = build()
    made = made_by()
    functions = measure_functions(libs)
    tables = measure_memory()
    tables[CODE] = measure_code(libs)
    tables[FUNCTIONS] = dict(list(functions.items())[:TOP])
    tables[PROGRAM] = measure_program(a.build)
    if a.check:
        result = check(tables, functions, made)
        print(closing_line(tables))
        return result
    tables[RESIDENT] = parse_tables(DOC.read_text()).get(RESIDENT, {}) if DOC.exists() else {}
    if a.pid:
        tables[RESIDENT].update(measure_resident(a.pid, a.label))
    DOC.write_text(render(tables, made))
    parts = readme_parts()
    if parts:
        table = "\n".join(render_table(short_table(tables)))
        README.write_text(f"{parts[0]}{BEGIN}\n{table}\n{END}{parts[2]}")
    print(closing_line(tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())

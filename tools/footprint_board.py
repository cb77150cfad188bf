#!/usr/bin/env python3
"""Measures the node on the emulated microcontroller and writes docs/footprint_board.md, its picture docs/footprint_board.svg and
the record docs/footprint.json. Ends with one line of bytes:

    node_ram=N image_ram=N own_flash=N image_flash=N netmap_ram=N peer_rest=N peer_live=N

Usage: footprint_board.py [--build DIR] [--check] [--keep]

Builds ports/baremetal into DIR (default build-board), runs the image that counts under QEMU, and takes what was measured in a
network (heap, stack) from the last run of .ci/board.sh with this image; when there is none, that part is run now (needs root).
Code for a Cortex-M4 and for a 32-bit big-endian machine is measured in the builds of .ci/cross.sh, where they exist.
What changed since the record is printed. With --check nothing is written, and a budget that is exceeded fails.

SPDX-License-Identifier: MIT
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

import stack_depth

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOC = ROOT / "docs" / "footprint_board.md"
PICTURE = ROOT / "docs" / "footprint_board.svg"
RECORD = ROOT / "docs" / "footprint.json"
KB = 1024
# Of ours, and of no single module: texts, and what the optimiser made itself.
SEVERAL = "texts of all modules"
# What must hold (bytes).
BUDGETS = {"node_ram": 100 * KB, "image_ram": 192 * KB, "own_flash": 160 * KB, "image_flash": 640 * KB, "netmap_ram": 8 * KB,
           "peer_rest": 200, "peer_live": 700}


def run(*cmd: str, **env: str) -> str:
    done = subprocess.run(cmd, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **env})
    if done.returncode != 0:
        sys.exit(f"footprint_board: {' '.join(cmd)} failed\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def figures(build: pathlib.Path) -> dict[str, dict[str, int]]:
    tables: dict[str, dict[str, int]] = {}
    out = run("tests/board/qemu.sh", str(build / "figures.bin"), "-icount", "shift=0")
    for line in out.splitlines():
        words = line.split("\t")
        if len(words) == 3:
            tables.setdefault(words[0], {})[words[1]] = int(words[2])
    if not out.rstrip().endswith("end") or re.search(r"^(cannot|expected)", out, re.M):
        sys.exit(f"footprint_board: the counting image stopped early\n{out}")
    return tables


def measured(build: pathlib.Path) -> dict[str, dict[str, int]]:
    """The highest value of each figure by situation, of runs with the present image."""
    path, image = build / "measured.txt", build / "node.bin"
    if not path.exists() or path.stat().st_mtime < image.stat().st_mtime:
        path.unlink(missing_ok=True)
        run(".ci/board.sh", BOARD_RUN="TestBoardJoins", ML_BOARD_BUILD=str(build))
    tables: dict[str, dict[str, int]] = {}
    for line in path.read_text().splitlines():
        situation, name, value = line.split("\t")
        t = tables.setdefault(situation, {})
        t[name] = max(t.get(name, 0), int(value))
    return tables


def measured_before() -> dict[str, dict[str, int]]:
    """What the document says of the tailnet."""
    part = re.search(r"## Measured in a tailnet\n(.*?)\n## ", DOC.read_text(), re.S).group(1)
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| ")]
    return {s: {r[0]: int(r[1 + n].replace(",", "")) for r in rows[1:]} for n, s in enumerate(rows[0][1:])}


def owner(path: str) -> str:
    m = re.search(r"libml_(\w+)\.a", path)
    if m:
        return m.group(1)
    for part, name in (("libmbedtls", "Mbed TLS"), ("liblwip", "lwIP"), ("libsodium", "libsodium"), ("libboard", "port and board"),
                       ("node.dir", "port and board"), ("libc", "C library"), ("libgcc", "C library")):
        if part in path:
            return name
    return "C library"


def module_of(source: str) -> str:
    m = re.search(r"/src/(\w+)/", source)
    if m:
        return m.group(1)
    return "port and board" if "/ports/" in source or "/examples/" in source else SEVERAL


def modules_of_code(elf: pathlib.Path, parts: list[tuple[int, int]]) -> dict[str, int]:
    """Bytes of code by the module its source lines are in, whatever it was inlined into; an instruction has 2 or 4 bytes."""
    addresses = [a for start, size in parts for a in range(start, start + size, 2)]
    out = subprocess.run(["riscv64-unknown-elf-addr2line", "-e", str(elf)], input="\n".join(map(hex, addresses)),
                         capture_output=True, text=True, check=True).stdout.splitlines()
    if len(out) != len(addresses):
        sys.exit("footprint_board: addr2line did not answer for every address")
    found: dict[str, int] = {}
    for source in out:
        found[module_of(source)] = found.get(module_of(source), 0) + 2
    return found


def modules_of_constants(elf: pathlib.Path) -> dict[int, str]:
    """The module of every array by its address; texts have no name."""
    found: dict[int, str] = {}
    for line in run("riscv64-unknown-elf-nm", "-l", str(elf)).splitlines():
        symbol, _, source = line.partition("\t")
        if source:
            found[int(symbol.split()[0], 16)] = module_of(source)
    return found


def flash_by_owner(build: pathlib.Path) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """Linked bytes by module from the linker's map: code and constants in flash, and static RAM; then RAM by owner. What
    link-time optimisation made is one object; there the debug information says the module."""
    flash: dict[str, dict[str, int]] = {}
    ram: dict[str, dict[str, int]] = {}
    joint: list[tuple[int, int]] = []
    constants = modules_of_constants(build / "node.elf")

    def add(who: str, kind: str, size: int) -> None:
        flash.setdefault(who, {"code": 0, "constants": 0})[kind] += size

    text = (build / "node.map").read_text().split("Linker script and memory map")[1]
    text = re.sub(r"\n +(0x[0-9a-f]+ +0x)", r" \1", text)
    for m in re.finditer(r"^ (\.[\w.$-]+) +0x([0-9a-f]+) +0x([0-9a-f]+) (\S+)$", text, re.M):
        section, address, size, path = m.group(1), int(m.group(2), 16), int(m.group(3), 16), m.group(4)
        if address == 0 or size == 0:
            continue
        optimised = path.endswith(".ltrans.o")
        if 0x20000000 <= address < 0x20400000:
            if optimised and section.startswith(".text"):
                joint.append((address, size))
            else:
                add(constants.get(address, SEVERAL) if optimised else owner(path), "code" if section.startswith((".text", ".init")) else "constants", size)
        elif 0x80000000 <= address < 0x88000000:
            who = "port and board" if optimised else owner(path) # the engine has no static data
            ram.setdefault(who, {"bytes": 0})["bytes"] += size
    for who, size in modules_of_code(build / "node.elf", joint).items():
        add(who, "code", size)
    return dict(sorted(flash.items())), dict(sorted(ram.items()))


def deepest_frames(build: pathlib.Path, top: int = 20) -> dict[str, dict[str, int]]:
    """-fstack-usage: the functions with the largest frames that were linked."""
    linked = set(re.findall(r"\.text\.(\w+)", (build / "node.map").read_text().split("Linker script and memory map")[1]))
    frames = {n: size for n, size in stack_depth.frames_by_su(build, "node").items() if n in linked}
    return {f"`{k}`": {"bytes": v} for k, v in sorted(frames.items(), key=lambda kv: (-kv[1], kv[0]))[:top]}


def largest_functions(build: pathlib.Path, top: int = 20) -> dict[str, dict[str, int]]:
    sizes = []
    for line in run("riscv64-unknown-elf-nm", "-S", "--size-sort", "-r", str(build / "node.elf")).splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "tT":
            sizes.append((words[3], int(words[1], 16)))
    return {f"`{k}`": {"bytes": v} for k, v in sizes[:top]}


def library_sizes(build: pathlib.Path, size: str, pattern: str) -> dict[str, dict[str, int]]:
    """Code, constants and data of every module of a build that links nothing."""
    found: dict[str, dict[str, int]] = {}
    for lib in sorted(build.glob("libml_*.a")):
        name = lib.stem.removeprefix("libml_")
        if not (ROOT / "src" / name).is_dir():
            continue
        row = found.setdefault(name, {"text": 0, "data": 0, "bss": 0})
        for line in run(size, str(lib)).splitlines()[1:]:
            words = line.split()
            for k, v in zip(row, words):
                row[k] += int(v)
    for lib in build.glob(pattern):
        row = found.setdefault("port, portable part", {"text": 0, "data": 0, "bss": 0})
        for line in run(size, str(lib)).splitlines()[1:]:
            for k, v in zip(row, line.split()):
                row[k] += int(v)
    return found


def other_machines(build: pathlib.Path) -> dict[str, dict[str, int]]:
    """Modules before linking, so that the machines can be compared. Nothing when .ci/cross.sh has not run."""
    machines = {"rv32imac": (build, "riscv64-unknown-elf-size", "libportable.a"),
                "Cortex-M4": (ROOT / "build-cortex", "arm-none-eabi-size", "libportable.a"),
                "powerpc, big-endian": (ROOT / "build-powerpc", "powerpc-linux-gnu-size", "-")}
    sizes = {m: library_sizes(*where) for m, where in machines.items() if where[0].is_dir()}
    sizes = {m: t for m, t in sizes.items() if t}
    rows: dict[str, dict[str, int]] = {}
    for name in sorted({n for t in sizes.values() for n in t}):
        rows[name] = {f"{m}, {k}": sizes[m].get(name, {}).get(k, 0) for m in sizes for k in ("text", "data", "bss")}
    if rows:
        rows["sum"] = {c: sum(r[c] for r in rows.values()) for c in next(iter(rows.values()))}
    return rows


def flat(tables: dict[str, dict[str, dict[str, int]]]) -> dict[str, int]:
    return {f"{t}: {row}{'' if len(cells) == 1 else ', ' + c}": v
            for t, rows in tables.items() for row, cells in rows.items() for c, v in cells.items()}


def differences(now: dict[str, int]) -> list[str]:
    """Against the record, the largest relative changes first."""
    was = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    changed = [(abs(v - was[k]) / max(1, was[k]), k, was[k], v) for k, v in now.items() if k in was and was[k] != v]
    return [f"{k}: {a:,} -> {b:,} ({b - a:+,})" for _, k, a, b in sorted(changed, reverse=True)]


def picture(line: dict[str, int]) -> str:
    """Each figure as a bar of its budget."""
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{40 + 34 * len(line)}" font-family="sans-serif" font-size="13">',
           '<rect width="100%" height="100%" fill="#fff"/>',
           '<text x="10" y="22">Share of each budget on the emulated microcontroller (the line is the limit)</text>']
    for n, (k, v) in enumerate(line.items()):
        y = 36 + 34 * n
        share = v / BUDGETS[k]
        colour = "#c0392b" if share > 1 else "#2e7d5b"
        out += [f'<text x="10" y="{y + 17}">{k}</text>',
                f'<rect x="110" y="{y + 3}" width="{min(share, 1.6) * 250:.0f}" height="20" fill="{colour}"/>',
                f'<text x="{118 + min(share, 1.6) * 250:.0f}" y="{y + 17}">{v:,} of {BUDGETS[k]:,}</text>']
    out += [f'<line x1="360" y1="32" x2="360" y2="{36 + 34 * len(line)}" stroke="#333"/>', "</svg>"]
    return "\n".join(out) + "\n"


def table(rows: dict[str, dict[str, int]]) -> list[str]:
    columns = list(next(iter(rows.values())))
    return ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns),
            *(f"| {r} | " + " | ".join(f"{c[k]:,}" for k in columns) + " |" for r, c in rows.items()), ""]


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build-board")
    p.add_argument("--check", action="store_true")
    p.add_argument("--keep", action="store_true", help="the part measured in a network stays as it is written, of an earlier image")
    a = p.parse_args()
    build = a.build.resolve()
    run("ports/baremetal/build.sh", BUILD=str(build))
    f, net = figures(build), measured_before() if a.keep else measured(build)
    flash, ram = flash_by_owner(build)
    plain = net["control-tls-false"]
    ours = {m: c for m, c in flash.items() if m not in ("Mbed TLS", "lwIP", "libsodium", "C library")}
    line = {
        "node_ram": plain["engine"] + plain["tls_peak"] + plain["stack_peak"],
        "image_ram": plain["ram"],
        "own_flash": sum(c["code"] + c["constants"] for c in ours.values()),
        "image_flash": plain["flash"],
        "netmap_ram": f["memory"]["netmap"],
        "peer_rest": f["memory"]["peer at rest"],
        "peer_live": f["memory"]["peer with a session"],
    }
    path, unknown = stack_depth.depth(build / "node.elf", build, "main", "riscv64-unknown-elf-objdump")
    depth = sum(size for _, size in path)
    counts = {k: {"instructions": v} for k, v in f["count"].items() if k != "nothing"}
    machines = other_machines(build)
    record = flat({"budget": {k: {"bytes": v} for k, v in line.items()}, "instructions": counts,
                   "tenant": {k: {"bytes": v} for k, v in f["tenant"].items()},
                   "flash": {k: {"bytes": sum(v.values())} for k, v in flash.items()},
                   "stack": {"by call graph": {"bytes": depth}, "by painting": {"bytes": plain["stack_peak"]}},
                   "module": machines})
    for d in differences(record):
        print(f"footprint_board: {d}")
    over = {k: v for k, v in line.items() if v > BUDGETS[k]}
    closing = " ".join(f"{k}={v}" for k, v in line.items())
    if a.check:
        for k, v in over.items():
            print(f"footprint_board: {k}: {v:,} is over the budget of {BUDGETS[k]:,}")
        print(closing)
        return 1 if over else 0
    out = ["# Footprint on a microcontroller", "",
           "Made by `tools/footprint_board.py`; do not edit. Bytes. The image of `ports/baremetal` for rv32imac (gcc "
           f"{run('riscv64-unknown-elf-gcc', '-dumpfullversion').strip()}, `-Os`) in",
           "`qemu-system-riscv32 -M virt`, with code in flash and memory limited by the linker script and by the chip's memory",
           "protection. 16 peers kept, all of them with a session at a time, 2 relays.", "",
           "![Share of each budget](footprint_board.svg)", "", "## Budgets", "", "| | bytes | must |", "|---|---:|---:|",
           *(f"| `{k}` | {v:,} | {BUDGETS[k]:,} |" for k, v in line.items()), "",
           "`node_ram` is the engine's arena, the most TLS ever took, and the deepest stack, in a tailnet with a verified relay and",
           "control over http. " + (f"Over the budget: {', '.join(f'`{k}`' for k in over)}." if over else "All budgets are kept."), "",
           "## Measured in a tailnet", "", "The highest of all runs: handshakes, pings of all kinds, 64 KB of TCP echo, a reset."
           + (" Of an earlier image." if a.keep else ""), "",
           *table({k: {s: net[s].get(k, 0) for s in sorted(net)} for k in
                   ("engine", "tls_peak", "tls_now", "lwip_peak", "lwip_now", "arena_peak", "stack_peak", "tls_buffer", "ram", "flash")}),
           "## Engine memory by tenant", "", *table({k: {"bytes": v} for k, v in f["tenant"].items()}),
           "## Static memory by owner", "", "`port and board` has the engine's memory, the arena of TLS and lwIP, and the stack.", "",
           *table(ram),
           "## Flash by module", "", "As linked, the modules of the engine optimised together: code counts for the module whose source it is, also "
           "where it", "was inlined into another.", "",
           *table({k: {**v, "sum": sum(v.values())} for k, v in flash.items()}),
           "## Instructions", "", "Counted by QEMU's `-icount`, one engine's side, copies to and from its queues included.", "",
           *table(counts),
           "For comparison, where public: wireguard-lwip has 14.0 KB of text and 880 B a peer; Mbed TLS's ChaCha20-Poly1305 takes",
           f"about 96 instructions a byte at `-Os`, ours {(counts['ChaCha20-Poly1305, seal 1280 bytes']['instructions']) // 1280}. How far these",
           "can fall is in decisions/0005-own-primitives-on-32-bit.md.", "",
           *(["## Modules on other machines", "", "Before linking, the engine's and the portable part of the port: `-Os`, gcc for rv32imac and Cortex-M4, clang for "
              "powerpc.", "", *table(machines)] if machines else []),
           "## Largest functions", "", *table(largest_functions(build)),
           "## Deepest stack", "",
           f"By the call graph (`tools/stack_depth.py`) {depth:,} bytes from `main()` on, along this path; painting in a tailnet found "
           f"{plain['stack_peak']:,}.",
           "Functions that call each other in a circle count once each, so the path is an upper bound rather than a trace"
           + (f"; what {len(unknown)} callers by pointer call is not known" if unknown else "") + ".", "",
           *table({f"`{n}`": {"bytes": b} for n, b in path}),
           "## Largest stack frames", "", "By `-fstack-usage`, of what is linked; painting found the depth given above.", "",
           *table(deepest_frames(build))]
    DOC.write_text("\n".join(out).rstrip() + "\n")
    PICTURE.write_text(picture(line))
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    for k, v in over.items():
        print(f"footprint_board: {k}: {v:,} is over the budget of {BUDGETS[k]:,}")
    print(closing)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Code and constants of the ESP-IDF component for an ESP32-C3, without ESP-IDF. Ends with one line of bytes:

    own_flash=N example_flash=N

Usage: footprint_esp.py [--check] [--idf-commands compile_commands.json] [--symbols N] [-- FLAG...]

Compiles what ports/esp-idf/component.cmake names with riscv64-unknown-elf-gcc and the flags that ESP-IDF 5.3 gives a component
with the sdkconfig.defaults of our examples, against the declarations of tests/esp, makes one object of it by the commands
of ports/esp-idf/one_object.cmake, and links that alone: as a device's image is linked, unused functions are removed, equal texts
are one, and calls are relaxed. What others provide counts as nothing. own_flash is with everything of the public headers in use,
example_flash with what examples/ping_pong uses; the rows by folder are of the same files not made one object.

With --idf-commands the flags and headers are those of a real ESP-IDF project of this tree that was configured for esp32c3
(build/compile_commands.json). Further flags are added to each command, to try them. With --check nothing but the budget matters:
own_flash above it fails.

SPDX-License-Identifier: MIT
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "build-esp-size"
BUDGET = 160 * 1024
PREFIX = "riscv64-unknown-elf-"
ARCH = "-march=rv32imc_zicsr_zifencei -mabi=ilp32"
CFLAGS = (ARCH + " --specs=picolibc.specs -ffunction-sections -fdata-sections -nostartfiles "
          "-freorder-blocks -fstrict-volatile-bitfields -fno-jump-tables -fno-tree-switch-conversion -Wall -Wextra -Werror "
          "-Wno-unused-parameter -Wno-sign-compare -Wno-old-style-declaration -DESP_PLATFORM -D_GNU_SOURCE -D_POSIX_TIMERS=1 -D_POSIX_MONOTONIC_CLOCK=1").split()
# The functions that the C3 has in its ROM, and those that ESP-IDF places in its RAM: the prologues of -msave-restore, the heap,
# FreeRTOS. All other foreign functions are taken to be within reach of a short call.
ROM = "mem|str|abs$|labs$|div$|qsort$|bsearch$|__(u?div|u?mod|ashl|ashr|lshr|mul|clz|ctz|popcount|bswap)"
RAM = "__riscv_|__atomic_|(m|c|re)alloc$|free$|heap_caps_|[a-z]+(Queue|Task|Timer|Semaphore)[A-Z]|esp_log_(write|timestamp)$"
# Flash of the C3: code at 0x42000000, constants at 0x3c000000.
SCRIPT = """
SECTIONS {
  .text 0x42000020 : { *(.text .text.*) }
  .rodata 0x3c000020 : { *(.rodata .rodata.* .srodata .srodata.*) }
  .data 0x3fc80000 : { *(.data .data.* .sdata .sdata.*) }
  .bss : { *(.bss .bss.* .sbss .sbss.* COMMON) }
  /DISCARD/ : { *(.eh_frame .comment .debug* .riscv.attributes) }
}
"""


def run(*cmd: str, **more) -> str:
    done = subprocess.run(cmd, capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"footprint_esp: {' '.join(cmd[:1])} failed\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def component() -> tuple[list[pathlib.Path], list[str], list[list[str]]]:
    """Sources, flags and the commands that make one object, by ports/esp-idf/component.cmake, which cmake itself reads;
    sdkconfig.defaults says the rest, and what Kconfig makes of it for a C3."""
    probe = OUT / "probe.cmake"
    defaults = "\n".join(f"set({n} {v})" for n, v in re.findall(r"^(CONFIG_\w+)=(.*)$", DEFAULTS, re.M))
    probe.write_text(f"""
macro(idf_component_register)
  cmake_parse_arguments(R "" "" "SRCS;INCLUDE_DIRS;PRIV_INCLUDE_DIRS;REQUIRES;PRIV_REQUIRES" ${{ARGN}})
endmacro()
function(idf_component_optional_requires)
endfunction()
function(target_compile_definitions lib)
  list(REMOVE_AT ARGV 0 1)
  set_property(GLOBAL APPEND PROPERTY defs ${{ARGV}})
endfunction()
function(target_compile_options lib)
  list(REMOVE_AT ARGV 0 1)
  set_property(GLOBAL APPEND PROPERTY opts ${{ARGV}})
endfunction()
function(set_target_properties)
endfunction()
function(add_custom_command)
endfunction()
set(COMPONENT_LIB none)
set(CMAKE_C_COMPILER_ID GNU)
set(CMAKE_C_COMPILER {PREFIX}gcc)
set(CMAKE_NM {PREFIX}nm)
set(CMAKE_OBJCOPY {PREFIX}objcopy)
set(CMAKE_C_FLAGS "{ARCH}")
set(CMAKE_CURRENT_BINARY_DIR {OUT})
set(CONFIG_IDF_TARGET_ARCH_RISCV y)
set(CONFIG_MICROLINK_ONE_OBJECT y)
{defaults}
include({ROOT}/ports/esp-idf/component.cmake)
get_property(defs GLOBAL PROPERTY defs)
get_property(opts GLOBAL PROPERTY opts)
foreach(f ${{R_SRCS}})
  message("src\\t${{f}}")
endforeach()
foreach(d ${{R_INCLUDE_DIRS}} ${{R_PRIV_INCLUDE_DIRS}})
  message("flag\\t-I${{d}}")
endforeach()
foreach(d ${{defs}})
  message("flag\\t-D${{d}}")
endforeach()
foreach(o ${{opts}})
  message("flag\\t${{o}}")
endforeach()
foreach(o ${{ml_partial_link}})
  message("link\\t${{o}}")
endforeach()
foreach(o ${{ml_rename}})
  message("rename\\t${{o}}")
endforeach()
foreach(o ${{ml_link_jumps}})
  message("jumps\\t${{o}}")
endforeach()
if(NOT ml_one_object)
  message(FATAL_ERROR "{PREFIX}gcc cannot make one object")
endif()
""")
    done = subprocess.run(["cmake", "-P", str(probe)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"footprint_esp: component.cmake cannot be read\n{done.stderr}")
    lines = [line.split("\t", 1) for line in done.stderr.splitlines() if "\t" in line]
    sources = [pathlib.Path(os.path.normpath(v)) for k, v in lines if k == "src"]
    flags, *making = ([v for k, v in lines if k == kind] for kind in ("flag", "link", "rename", "jumps"))
    return sources, flags, making


def sodium() -> str:
    found = sorted(ROOT.glob(".cache/board/libsodium-*/src/libsodium/include"))
    host = pathlib.Path("/usr/include/sodium.h")
    if not found and not host.exists():
        sys.exit("footprint_esp: no headers of libsodium (tools/setup.sh)")
    # The host's header declares the same functions; in a folder of its own, so that nothing else of the host is seen.
    if host.exists():
        folder = OUT / "sodium"
        folder.mkdir(exist_ok=True)
        for name in ("sodium.h", "sodium"):
            link = folder / name
            if not link.is_symlink():
                link.symlink_to(host.parent / name)
        return str(folder)
    return str(found[0])


def commands(a: argparse.Namespace) -> tuple[list[tuple[list[str], pathlib.Path, pathlib.Path]], list[list[str]]]:
    """A command, its folder and its object for each source; and the commands that make one object of them."""
    found = []
    sources, flags, (partial, rename, jumps) = component()
    if a.idf_commands:
        for c in json.loads(a.idf_commands.read_text()):
            source = pathlib.Path(c["file"])
            if source.is_relative_to(ROOT) and source.parts[len(ROOT.parts)] in ("src", "ports"):
                words = shlex.split(c["command"])
                at = words.index("-o")
                del words[at:at + 2]
                found.append((words, pathlib.Path(c["directory"]), source))
                partial[0] = jumps[0] = words[0]
                rename[0] = words[0].removesuffix("gcc") + "objcopy"
    else:
        if "CONFIG_COMPILER_OPTIMIZATION_SIZE=y" not in DEFAULTS:
            sys.exit("footprint_esp: the examples' sdkconfig.defaults do not ask for size")
        for source in sources:
            words = [PREFIX + "gcc", *CFLAGS, "-Os", f"-I{ROOT}/tests/esp/idf", f"-I{ROOT}/tests/esp/size", f"-isystem{sodium()}", *flags]
            found.append((words + ["-c", str(source)], OUT, source))
    result = []
    for words, folder, source in found:
        obj = OUT / (str(source.relative_to(ROOT)).replace("/", "_") + ".o")
        # Machine code too, for the rows by folder.
        result.append((words + ["-flto", "-ffat-lto-objects", *a.flag, "-o", str(obj)], folder, obj))
    return result, [partial + a.flag, rename, jumps]


DEFAULTS = (ROOT / "examples/ping_pong/esp-idf/sdkconfig.defaults").read_text()


def public_names() -> list[str]:
    names: set[str] = set()
    for header in [ROOT / "include/microlink.h", *(ROOT / "ports/esp-idf/include").glob("*.h")]:
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        names |= set(re.findall(r"\bmicrolink_\w+(?=\()|(?<=^ESP_EVENT_DECLARE_BASE\()\w+", text, re.M))
    return sorted(names)


def symbols(obj: pathlib.Path, *options: str) -> list[list[str]]:
    return [line.split() for line in run(PREFIX + "nm", *options, str(obj)).splitlines() if line.strip() and not line.endswith(":")]


def link(objects: list[pathlib.Path], roots: list[str], name: str) -> pathlib.Path:
    """An image, and its map beside it."""
    script, elf, mapfile = OUT / f"{name}.ld", OUT / f"{name}.elf", OUT / f"{name}.map"
    defined: set[str] = set()
    missing: set[str] = set()
    # What an object to be optimised calls without saying so (memcpy) is known of the one made of them.
    for obj in {*objects, OUT / "microlink.o"}:
        for words in symbols(obj):
            (missing if words[0] in "Uw" else defined).add(words[-1])
    missing -= defined
    def place(s: str) -> str:
        return "0x40000400" if re.match(ROM, s) else "0x40384000" if re.match(RAM, s) else "0x42040000"
    script.write_text(SCRIPT + "".join(f"{s} = {place(s)};\n" for s in sorted(missing)))
    run(PREFIX + "gcc", "-march=rv32imc", "-mabi=ilp32", "-nostdlib", "-nostartfiles", "-fno-lto", "-Wl,--gc-sections", f"-Wl,-T,{script}",
        *(f"-Wl,--require-defined={r}" for r in roots), "-Wl,-e,0", f"-Wl,-Map,{mapfile}", *map(str, objects), "-o", str(elf))
    return elf


def flash(elf: pathlib.Path) -> int:
    rows = [line.split() for line in run(PREFIX + "size", "-A", str(elf)).splitlines()]
    return sum(int(r[1]) for r in rows if r and r[0] in (".text", ".rodata", ".data"))


def by_folder(elf: pathlib.Path) -> dict[str, dict[str, int]]:
    rows: dict[str, dict[str, int]] = {}
    text = elf.with_suffix(".map").read_text().split("Linker script and memory map")[1]
    text = re.sub(r"\n +(0x[0-9a-f]+ +0x)", r" \1", text)
    for m in re.finditer(r"^ \.([a-z]+)\S* +0x([0-9a-f]+) +0x([0-9a-f]+) (\S+)$", text, re.M):
        kind, address, size = m.group(1), int(m.group(2), 16), int(m.group(3), 16)
        if not address or not size or kind in ("bss", "sbss"):
            continue
        found = re.match(r"(src_\w+?|ports_common|ports_esp-idf)_", pathlib.Path(m.group(4)).name)
        owner = found.group(1).removeprefix("src_").replace("_", "/") if found else "libgcc"
        row = rows.setdefault(owner, {"code": 0, "constants": 0})
        row["code" if kind == "text" else "constants"] += size
    return dict(sorted(rows.items()))


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true")
    p.add_argument("--idf-commands", type=pathlib.Path)
    p.add_argument("--symbols", type=int, default=0, help="print the N largest functions and constants")
    p.add_argument("flag", nargs="*", default=[])
    a = p.parse_args()
    OUT.mkdir(exist_ok=True)
    jobs, (partial, rename, jumps) = commands(a)
    if not jobs:
        sys.exit("footprint_esp: no source of this tree among the commands")
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count() or 2))) as pool:
        list(pool.map(lambda j: run(*j[0], cwd=j[1]), jobs))
    objects = [j[2] for j in jobs]
    one = OUT / "microlink.o"
    far = OUT / "microlink.o.far"
    run(*partial, *map(str, objects), "-o", str(one))
    run(*rename, str(one), str(far))
    run(*jumps, str(far), "-o", str(one))
    for owner, row in by_folder(link(objects, public_names(), "apart")).items():
        print(f"{owner:16} {row['code']:8,} code {row['constants']:8,} constants")
    every = link([one], public_names(), "all")
    app = (ROOT / "examples/ping_pong/esp-idf/main/main.c").read_text()
    example = link([one], [f for f in public_names() if re.search(rf"\b{f}\b", app)], "example")
    if a.symbols:
        for words in symbols(every, "-S", "--size-sort", "-r"):
            if len(words) == 4 and words[2] in "tTrRdD" and a.symbols > 0:
                print(f"{int(words[1], 16):6} {words[3]}")
                a.symbols -= 1
    own = {"own_flash": flash(every), "example_flash": flash(example)}
    over = own["own_flash"] > BUDGET
    if over:
        print(f"footprint_esp: own_flash: {own['own_flash']:,} is over the budget of {BUDGET:,}")
    print(" ".join(f"{n}={v}" for n, v in own.items()))
    return 1 if over and a.check else 0


if __name__ == "__main__":
    sys.exit(main())

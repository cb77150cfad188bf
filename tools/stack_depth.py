#!/usr/bin/env python3
"""The deepest stack of an image by its call graph: what painting cannot show, since it only sees the paths that were taken.

Usage: stack_depth.py IMAGE.elf BUILD_DIR [--from FUNCTION] [--objdump PROGRAM]

Calls are read from the disassembly of the linked image, so that exactly what is linked counts, the C library included. Frames
are those of -fstack-usage (*.su below BUILD_DIR, of link-time optimisation before others), else read from the prologue. A call
by pointer goes to the functions that INDIRECT names for its caller; a caller that is not in it is listed as unknown, and counts
as calling nothing. Functions that call each other in a circle count once each. Prints the depth and the deepest path, a function
a line.

SPDX-License-Identifier: MIT
"""
import argparse
import pathlib
import re
import subprocess
import sys

sys.setrecursionlimit(10000)

# Who calls through a pointer, and what it can be there: regular expressions over function names.
INDIRECT: list[tuple[str, str]] = [
    # The engine: the sink of its parser, what a rule's text is added to, changes of an index, random bytes
    (r"hand_out.*|emit.*|ml_map_parse_.*|ml_map_rule_emit|leave", r"on_delta"),
    (r"on_delta|read_tables|core_cache_.*", r"core_apply"),
    (r"add_addresses", r"add_.*"),
    (r"index_all", r"index_put|index_add|index_remove|index_.*"),
    (r"ml_random_.*|ml_x25519_keygen|send_login|ml_stun_query_start|ml_path_ping_queue|ml_disco_seal|ml_derp_.*|ml_wg_checker_reply|rng",
     r"fill_random"),
    (r"ml_log_text|on_delta|ml_port_flush", r"log_line|on_log"),
    # The port: what the flash store and the network are given
    (r"ml_flash_store_.*|sector_seq.*|append|load_records.*", r"board_flash_.*"),
    (r"on_udp", r"on_datagram"),
    (r"tunnel_output", r"on_packet_for_tunnel"),
    (r"ml_net_poll", r"ethernet_input"),
    (r"ml_net_tunnel_input", r"ip4_input"),
    (r"eth_status", r"on_address_changed"),
    # lwIP
    (r"ethernet_output|etharp_.*", r"eth_output"),
    (r"ip4_output.*", r"etharp_output|tunnel_output"),
    (r"netif_.*|dhcp_.*", r"eth_status"),
    (r"udp_input", r"on_udp|dhcp_recv|dns_recv"),
    (r"sys_check_timeouts", r"lwip_cyclic_timer|tcpip_tcp_timer"),
    (r"lwip_cyclic_timer", r"tcp_tmr|etharp_tmr|ip_reass_tmr|dhcp_coarse_tmr|dhcp_fine_tmr|dns_tmr"),
    (r"tcp_.*", r"on_connected|on_recv|on_sent|on_err|on_echo_.*|tcp_recv_null|tcp_accept_null"),
    (r"dns_.*", r"on_dns"),
    # Mbed TLS: byte streams, random numbers, hashes of the handshake, tables of algorithms
    (r"mbedtls_ssl_(fetch_input|flush_output|read)", r"bio_(send|recv)"),
    (r"bio_send", r"raw_send|tcp_send|plain_send|send_.*bytes"),
    (r"bio_recv", r"raw_recv|tcp_take|plain_recv"),
    (r"mbedtls_ssl_.*|ssl_.*", r"ssl_calc_.*|ssl_update_checksum_.*|tls_prf_sha.*|rng"),
    (r"mbedtls_cipher.*|mbedtls_gcm.*|gcm_.*", r"aes_.*_wrap|gcm_aes_setkey_wrap|chacha.*_wrap"),
    (r"mbedtls_pk_free", r"(rsa|eckey|ecdsa)_free_wrap"),
    (r"mbedtls_pk_setup", r"(rsa|eckey|ecdsa)_alloc_wrap"),
    (r"mbedtls_pk_verify.*", r"(rsa|eckey|ecdsa)_verify.*_wrap"),
    (r"mbedtls_pk_sign.*", r"(rsa|eckey|ecdsa)_sign.*_wrap"),
    (r"mbedtls_pk_decrypt", r"rsa_decrypt_wrap"),
    (r"mbedtls_pk_get_bitlen|mbedtls_pk_can_do|mbedtls_pk_check_pair|mbedtls_pk_debug", r"(rsa|eckey|ecdsa)_(get_bitlen|can_do|check_pair_wrap|debug).*"),
    (r"mbedtls_(ecp|mpi|rsa|ecdh|ecdsa)_.*|ecp_.*|rsa_.*|mpi_.*|ecdh_.*|ecdsa_.*", r"rng"),
    (r"mbedtls_x509.*|x509_.*|mbedtls_asn1_traverse_sequence_of", r"on_wrong_type|asn1_get_sequence_of_cb"),
    # The port for ESP-IDF: what select() and the resolver report, where packets and events go, NVS, its Mbed TLS
    (r"ml_loop_wait", r"on_socket|on_readable[46]|on_wake.*"),
    (r"ml_resolver_poll", r"on_resolved"),
    (r"ml_port_flush.*", r"on_overlay|on_event|on_store_failed|ml_storage_save"),
    (r"load_records.*", r"ml_storage_load"),
    (r"read_all", r"on_datagram"),
    (r"ml_udp_send", r"on_unreachable"),
    (r"say|opened|ml_log_text", r"ml_port_log_esp"),
    (r"x509_crt_verify.*|mbedtls_x509_crt_verify.*", r"esp_crt_verify_callback"),
    (r"crypto_stream_chacha20.*", r"stream_ref.*|stream_ietf_ext_ref.*"),
    (r"crypto_onetimeauth_poly1305.*", r"crypto_onetimeauth_poly1305_donna.*"),
    (r"crypto_scalarmult_curve25519.*", r"crypto_scalarmult_curve25519_ref10.*"),
    # Leaves: clearing memory, a character of output, a block of key stream
    (r"mbedtls_platform_zeroize", r"memset"),
    (r"__d_vfprintf|vfprintf|puts|printf", r".*putc.*"),
    (r"crypto_stream_salsa20.*", r"stream_ref.*"),
]


def run(*cmd: str) -> str:
    return subprocess.run(cmd, check=True, capture_output=True, text=True).stdout


def frames_by_su(build: pathlib.Path, image: str) -> dict[str, int]:
    compiled: dict[str, int] = {}
    linked: dict[str, int] = {} # by link-time optimisation, IMAGE.elf.ltrans0.ltrans.su: what the image has of these functions
    others = {p.stem for p in build.glob("*.elf")} - {image}
    for su in build.rglob("*.su"):
        if any(part.removesuffix(".dir") in others for part in su.parts) or su.name.split(".")[0] in others:
            continue # of another image
        frames = linked if su.name.endswith(".ltrans.su") else compiled
        for line in su.read_text().splitlines():
            where, size, _ = line.split("\t")
            name = where.split(":")[-1]
            frames[name] = max(frames.get(name, 0), int(size))
    return {**compiled, **linked}


SAVED = {**{str(n): 16 for n in range(4)}, **{str(n): 32 for n in range(4, 8)}, **{str(n): 48 for n in range(8, 12)}, "12": 64}


def graph(elf: pathlib.Path, objdump: str) -> tuple[dict[str, set[str]], dict[str, int], set[str]]:
    """Calls, prologues' frames, and who calls by pointer. Functions of one name are one."""
    calls: dict[str, set[str]] = {}
    frames: dict[str, int] = {}
    by_pointer: set[str] = set()
    name = ""
    for line in run(objdump, "-d", "--no-show-raw-insn", str(elf)).splitlines():
        m = re.match(r"[0-9a-f]+ <([^>]+)>:$", line)
        if m:
            name = m.group(1)
            calls.setdefault(name, set())
            continue
        m = re.match(r" *[0-9a-f]+:\t(\S+)\t?(.*)$", line)
        if not m or not name:
            continue
        op, args = m.groups()
        to = re.search(r"<([^>+]+)>", args)
        if op in ("jal", "j", "jalr", "jr", "tail", "call", "bl", "b.n", "b.w") or op.startswith("b"):
            if to:
                target = to.group(1)
                saved = re.match(r"(?:ml_jump_)?__riscv_save_(\d+)", target)
                if saved:
                    frames[name] = frames.get(name, 0) + SAVED[saved.group(1)]
                elif target != name and not re.match("(ml_jump_)?__riscv_restore", target):
                    calls[name].add(target)
            elif op in ("jalr", "blx") or (op == "jr" and not args.startswith(("ra", "t0"))):
                by_pointer.add(name)
        elif op in ("add", "addi") and args.startswith("sp,sp,-"):
            frames[name] = frames.get(name, 0) + int(args.split("-")[1].split()[0], 0)
    return calls, frames, by_pointer


def plain(name: str) -> str:
    """A function's name without what the optimiser adds to it."""
    return re.sub(r"(\.(constprop|isra|part|lto_priv|cold)(\.\d+)?)+$", "", name)


def depth(elf: pathlib.Path, build: pathlib.Path, start: str, objdump: str) -> tuple[list[tuple[str, int]], list[str]]:
    """The deepest path, each function with its frame, and callers by pointer nothing is known of."""
    calls, frames, by_pointer = graph(elf, objdump)
    su = frames_by_su(build, elf.stem)
    frames.update({n: b for n, b in su.items() if n in calls})
    unknown = []
    for caller in sorted(by_pointer):
        targets = [t for who, what in INDIRECT if re.fullmatch(who, plain(caller)) for t in calls if re.fullmatch(what, plain(t))]
        if targets:
            calls[caller] |= set(targets) - {caller}
        else:
            unknown.append(caller)
    return deepest(calls, frames, start), unknown


def components(calls: dict[str, set[str]], start: str) -> list[list[str]]:
    """Strongly connected components of what is reached, callees first (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[list[str]] = []

    def visit(f: str) -> None:
        index[f] = low[f] = len(index)
        stack.append(f)
        on_stack.add(f)
        for g in sorted(calls.get(f, ())):
            if g not in calls:
                continue
            if g not in index:
                visit(g)
                low[f] = min(low[f], low[g])
            elif g in on_stack:
                low[f] = min(low[f], index[g])
        if low[f] == index[f]:
            group = []
            while not group or group[-1] != f:
                group.append(stack.pop())
                on_stack.discard(group[-1])
            found.append(group)

    visit(start)
    return found


def deepest(calls: dict[str, set[str]], frames: dict[str, int], start: str) -> list[tuple[str, int]]:
    """The deepest path. Functions that call each other in a circle count as one with the sum of their frames: each once."""
    group_of: dict[str, int] = {}
    best: list[int] = []
    next_of: list[int] = []
    groups = components(calls, start)
    for n, group in enumerate(groups):
        for f in group:
            group_of[f] = n
        below = {group_of[g] for f in group for g in calls.get(f, ()) if g in group_of and group_of[g] != n}
        via = max(below, key=lambda g: best[g], default=-1)
        best.append(sum(frames.get(f, 0) for f in group) + (best[via] if via >= 0 else 0))
        next_of.append(via)
    path = []
    n = group_of[start]
    while n >= 0:
        path += [(f, frames.get(f, 0)) for f in reversed(groups[n])]
        n = next_of[n]
    return path


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("elf", type=pathlib.Path)
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("--from", dest="start", default="main")
    p.add_argument("--objdump", default="riscv64-unknown-elf-objdump")
    a = p.parse_args()
    path, unknown = depth(a.elf, a.build, a.start, a.objdump)
    for name, size in path:
        print(f"{size:6} {name}")
    print(f"{sum(size for _, size in path):6} bytes from {a.start}() on; {len(unknown)} callers by pointer are unknown"
          + (": " + " ".join(unknown) if unknown else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())

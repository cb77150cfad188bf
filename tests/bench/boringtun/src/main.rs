// The work of tests/bench/wg on boringtun's Tunn: two tunnels in one process, one thread, no sockets.
//
// Printed as "name value unit" lines. Like the C bench, handshake is both roles with all MACs and the confirming packet,
// and data N is one packet of N bytes sealed by one side and opened by the other.
//
// SPDX-License-Identifier: MIT
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SPAN: Duration = Duration::from_secs(2);

fn tunnel(own: [u8; 32], peer: [u8; 32], index: u32) -> Tunn {
    let own = StaticSecret::from(own);
    let limiter = Arc::new(RateLimiter::new(&PublicKey::from(&own), u64::MAX));
    let peer = PublicKey::from(&StaticSecret::from(peer));
    Tunn::new(own, peer, None, None, index, Some(limiter)).unwrap()
}

fn to_network(r: TunnResult) -> usize {
    match r {
        TunnResult::WriteToNetwork(p) => p.len(),
        _ => panic!("nothing to send"),
    }
}

fn handshake(a: &mut Tunn, b: &mut Tunn, x: &mut [u8], y: &mut [u8]) {
    let n = to_network(a.format_handshake_initiation(x, true));
    let m = to_network(b.decapsulate(None, &x[..n], y));
    let n = to_network(a.decapsulate(None, &y[..m], x)); // the confirming keepalive
    match b.decapsulate(None, &x[..n], y) {
        TunnResult::Done => {}
        _ => panic!("keepalive refused"),
    }
}

fn main() {
    let (ka, kb) = ([0x41; 32], [0x52; 32]);
    let (mut a, mut b) = (tunnel(ka, kb, 1), tunnel(kb, ka, 2));
    let (mut x, mut y) = ([0u8; 2048], [0u8; 2048]);

    let (start, mut count) = (Instant::now(), 0u64);
    while start.elapsed() < SPAN {
        handshake(&mut a, &mut b, &mut x, &mut y);
        count += 1;
    }
    println!("handshake {:.0} handshakes/s", count as f64 / start.elapsed().as_secs_f64());

    for size in [64usize, 1280] {
        let mut pkt = vec![7u8; size];
        pkt[0] = 0x45;
        pkt[2..4].copy_from_slice(&(size as u16).to_be_bytes());
        let (start, mut count) = (Instant::now(), 0u64);
        while start.elapsed() < SPAN {
            for _ in 0..1000 {
                let n = to_network(a.encapsulate(&pkt, &mut x));
                match b.decapsulate(None, &x[..n], &mut y) {
                    TunnResult::WriteToTunnelV4(p, _) if p.len() == size => {}
                    _ => panic!("packet refused"),
                }
            }
            count += 1000;
        }
        println!("data{} {:.0} packets/s", size, count as f64 / start.elapsed().as_secs_f64());
    }
}

//! `cargo bench -p mesos-benches --bench pi`: points of π a second, on one core, and lines of particles.

use std::hint::black_box;

use benches::{Reach, best_of, rate, row, timed};
use frameworks::particles::chunk::tally_data;
use frameworks::particles::generate::generate;
use frameworks::pi::kernel::Kernel;

const N_POINTS: u64 = 200_000_000;
const N_LINES: u64 = 500_000;

fn main() {
    // Warm, and not nothing: a kernel that counts no points would be the fastest.
    for kernel in Kernel::supported() {
        assert_eq!(kernel.count_inside(7, 0..1_000_000), 784_566);
    }
    for kernel in Kernel::supported() {
        let took = best_of(5, || timed(|| _ = black_box(kernel.count_inside(black_box(7), 0..N_POINTS))));
        let points = rate(N_POINTS, took) / 1e6;
        row(
            &format!("pi, {}: points/s on one core", kernel.name()),
            points,
            "million",
            Reach::AtLeast(400.0),
        );
    }

    let mut lines = Vec::new();
    generate(N_LINES, 1, &mut lines).expect("memory can be written");
    assert_eq!(tally_data(&lines, 0).particles(), N_LINES);
    let took = best_of(5, || timed(|| drop(black_box(tally_data(black_box(&lines), 0)))));
    let particles = rate(N_LINES, took) / 1e6;
    row(
        "particles: lines/s on one core, read, solved and tallied",
        particles,
        "million",
        Reach::AtLeast(1.0),
    );
}

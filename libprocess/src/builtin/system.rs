//! The machine: `/system/stats.json`, and the metrics under `system/`.

use nix::sys::sysinfo::sysinfo;

use super::read_only;
use crate::context::Context;
use crate::http::{Request, Response, StatusCode};
use crate::process::Process;

pub(super) struct System;

/// One read of the machine's figures.
struct Stats {
    load: [f64; 3],
    cpus: f64,
    mem_total_bytes: f64,
    mem_free_bytes: f64,
}

impl Stats {
    fn read() -> nix::Result<Stats> {
        let info = sysinfo()?;
        let (one, five, fifteen) = info.load_average();
        Ok(Stats {
            load: [one, five, fifteen],
            cpus: std::thread::available_parallelism().map_or(1, usize::from) as f64,
            mem_total_bytes: info.ram_total() as f64,
            mem_free_bytes: info.ram_unused() as f64,
        })
    }
}

impl System {
    fn stats(&mut self, request: Request, _: &mut Context<Self>) -> Response {
        match Stats::read() {
            Ok(stats) => {
                let document = serde_json::json!({
                    "avg_load_1min": stats.load[0],
                    "avg_load_5min": stats.load[1],
                    "avg_load_15min": stats.load[2],
                    "cpus_total": stats.cpus,
                    "mem_total_bytes": stats.mem_total_bytes,
                    "mem_free_bytes": stats.mem_free_bytes,
                });
                request.json(document.to_string())
            }
            Err(error) => {
                let text = format!("The system does not tell its figures: {error}.");
                Response::text(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }
}

impl Process for System {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route_with("/stats.json", read_only("Load, processors and memory of this machine."), Self::stats);
        let mut gauge = |name: &str, read: fn(Stats) -> f64| {
            // What cannot be read is no number, and left out.
            ctx.pull_gauge(&format!("system/{name}"), move |_| Stats::read().map_or(f64::NAN, read));
        };
        gauge("load_1min", |stats| stats.load[0]);
        gauge("load_5min", |stats| stats.load[1]);
        gauge("load_15min", |stats| stats.load[2]);
        gauge("cpus_total", |stats| stats.cpus);
        gauge("mem_total_bytes", |stats| stats.mem_total_bytes);
        gauge("mem_free_bytes", |stats| stats.mem_free_bytes);
    }
}
